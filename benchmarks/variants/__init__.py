"""Variants of the trained predictor, trained and measured in the same way (our designs)."""
