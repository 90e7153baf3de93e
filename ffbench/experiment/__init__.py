"""One run from settings to result: identity, stages, pipeline."""
