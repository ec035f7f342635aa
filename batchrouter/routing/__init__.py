"""Routers: each decides the tier of a record, and says why."""
