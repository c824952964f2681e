"""What can go wrong, in terms the user can act on."""


class PropagationError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(PropagationError):
    """A network or a setting that cannot be built."""
