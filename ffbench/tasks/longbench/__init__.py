"""LongBench: tasks, records and metrics."""
