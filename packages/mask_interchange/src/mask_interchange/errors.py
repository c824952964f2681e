"""What can go wrong with data, files and runs. Every message is complete on its own."""

from pathlib import Path


class MaskInterchangeError(Exception):
    """Base of every error this package raises on purpose."""


class DataNameError(MaskInterchangeError):
    """A name from data (video, expression, frame) that cannot be a part of a file path."""


class MaskError(MaskInterchangeError):
    """A mask, a track or a video's masks that break their own rules (sizes, lengths, run-length encoding)."""


class DatasetError(MaskInterchangeError):
    """Input that cannot be read: data set, video, frame or expression."""


class MaskFileError(MaskInterchangeError):
    """A `.masks` file that cannot be trusted.

    Attributes:
        path: the file, `<memory>` for bytes that never were one.
        field: the part of the file, written like `tracks[3].scores`.
        expected: what the format asks for.
        found: what was there.
    """

    def __init__(self, path: Path | str, field: str, expected: str, found: str):
        super().__init__(f"{path}: {field}: expected {expected}, found {found}")
        self.path = path
        self.field = field
        self.expected = expected
        self.found = found


class RunError(MaskInterchangeError):
    """A run folder that cannot be opened, resumed or written."""


class RunBusyError(RunError):
    """Another process is writing the run."""
