"""Errors of this package; every message says what was expected, what came and what to do."""

from program_kit.errors import ProgramKitError


class RVOSLayersError(ProgramKitError):
    """Base of every error that this package raises on purpose."""


class TokenizerError(RVOSLayersError):
    """A tokenizer cannot be read, or an expression does not fit the text encoder."""
