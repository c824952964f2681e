"""User errors of this package."""


class EvaluationError(Exception):
    """Masks and annotations that cannot be compared; the message is complete on its own."""
