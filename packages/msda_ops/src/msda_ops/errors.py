"""Errors of this package."""


class MSDAError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(MSDAError, ValueError):
    """Arguments that do not fit together; the message shows the arithmetic."""


class LibraryError(MSDAError, RuntimeError):
    """The compiled library is absent, does not fit this package, or reported an error."""
