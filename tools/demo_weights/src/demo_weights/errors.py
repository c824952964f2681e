"""Errors of this tool."""


class DemoWeightsError(Exception):
    """Something that a user can mend; the message says how."""
