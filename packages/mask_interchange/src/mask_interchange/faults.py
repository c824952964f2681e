"""What a check of a data set finds."""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can be wrong with a video, in the words that users see."""

    ENTRY = "faulty entry in the description"
    NO_EXPRESSIONS = "no expressions"
    NO_FRAMES = "no folder of frames"
    MISSING = "missing frame"
    UNREADABLE = "unreadable frame or video file"
    SIZE = "frame of another size"
    MASKS = "masks that do not fit the description"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a video.

    Attributes:
        kind: of the fault.
        message: complete on its own; names the file and what to do.
        frame: name of the frame, if it is about one.
    """

    kind: FaultKind
    message: str
    frame: str | None = None

    def __str__(self) -> str:
        return self.message
