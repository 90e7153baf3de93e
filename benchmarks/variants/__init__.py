"""Forms that a trained predictor could have, trained and judged alike (our designs)."""
