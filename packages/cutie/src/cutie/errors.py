"""What can go wrong, in terms the user can act on."""


class CutieError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(CutieError):
    """A network or a setting that cannot be built."""
