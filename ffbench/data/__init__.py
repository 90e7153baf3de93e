"""Text that plans are fitted on and judged on; no torch."""
