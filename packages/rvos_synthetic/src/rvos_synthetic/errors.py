"""The error of this package; every message is complete on its own."""


class SyntheticError(Exception):
    """Base of every error that this package raises on purpose."""
