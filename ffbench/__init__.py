"""FFBench: benchmark suite for predictive FFN sparsity in prefill."""

__version__ = "0.1.0"
