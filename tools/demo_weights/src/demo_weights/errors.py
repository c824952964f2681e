"""Errors of this tool."""


class DemoWeightsError(Exception):
    """User errors of this tool; the message says what to do."""
