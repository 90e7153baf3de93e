"""Hugging Face models: loading, adapters, sparse prefill."""
