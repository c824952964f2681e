"""Errors of this package; every message says what was expected, what came and what to do."""


class RVOSLayersError(Exception):
    """Base of everything this package raises on purpose."""


class CheckpointError(RVOSLayersError):
    """A checkpoint cannot be read, or its entries are not those of the model."""


class TokenizerError(RVOSLayersError):
    """A tokenizer cannot be had, or a sentence does not fit the text encoder."""
