"""The package's one family of errors."""


class UninextError(Exception):
    """Something a user can act on: the message says what was expected, what was found and what to do."""


class ConfigError(UninextError):
    """A configuration that no network can be built from."""


class InputError(UninextError):
    """A frame or an expression that the network cannot take."""


class TokenizerError(UninextError):
    """A tokenizer that cannot be had, or that belongs to another network."""
