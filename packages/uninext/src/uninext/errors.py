"""Errors of this package; every message says what was expected, what came and what to do."""

from program_kit.errors import ProgramKitError


class UninextError(ProgramKitError):
    """Base of every error that this package raises on purpose."""


class ConfigError(UninextError):
    """A configuration that no network can be built from."""


class InputError(UninextError):
    """A frame or an expression that the network cannot take."""
