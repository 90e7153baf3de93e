"""The error of models that cannot be used."""


class ModelError(ValueError):
    """A model cannot be loaded or used; the text says what is wrong and what to do."""


class UnsupportedModelError(ModelError):
    """The model has no gated FFN that FFBench can run."""
