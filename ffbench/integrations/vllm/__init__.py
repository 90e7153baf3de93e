"""Sparse prefill in a vLLM server."""
