"""Sparse prefill in a vLLM server; so far the parts that do not need vLLM itself."""
