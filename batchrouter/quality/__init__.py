"""Measuring what routing costs in quality: samples, comparisons, judges, and what may be said of them."""
