"""What can go wrong in every program, in terms the user can act on."""


class ProgramKitError(Exception):
    """Base of every error that this package raises on purpose."""


class WeightsError(ProgramKitError):
    """A configuration or weights that a program does not have."""


class InputError(ProgramKitError):
    """Masks, key frames or frames that do not fit together."""


class CheckpointError(ProgramKitError):
    """A checkpoint that cannot be read safely, or whose entries are not those of the model."""


class DeviceError(ProgramKitError):
    """A device that this machine does not have."""
