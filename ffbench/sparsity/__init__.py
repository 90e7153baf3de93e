"""The mathematics of block-wise FFN sparsity; torch only."""
