"""Errors of this package; every message says what was expected, what came and what to do."""


class TrainingError(Exception):
    """Base of everything this package raises on purpose."""
