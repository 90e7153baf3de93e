"""Tuning of a plan against the dense model."""
