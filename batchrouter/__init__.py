"""Run a JSONL file of LLM requests through the cheapest model that does each one well."""

__version__ = "0.1.0"
