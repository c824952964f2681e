"""What is reported while a recipe is carried out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What has happened; the values are the words of `fusion-core run --json` (docs/recipe.md)."""

    READY = "ready"  # videos became ready; `done` of all `total` videos are done
    PREPARING = "preparing"  # the program of a job is being installed
    STARTED = "started"  # a worker begins a video
    PROGRESS = "progress"  # `done` of `total` units of a video
    DONE = "done"  # a video, after `seconds`
    RETRIED = "retried"  # a worker was lost; another one will try the video
    FAILED = "failed"  # a video
    GIVEN_UP = "given up"  # a whole job, or an existing run that lacks videos
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has happened.

    Attributes:
        kind: says what the numbers mean.
        job: its name.
        runs: the runs that it writes.
        video: its id.
        done: see `EventKind`.
        total: see `EventKind`.
        seconds: that a video took.
        error: why, or what else there is to say, in words.
    """

    kind: EventKind
    job: str
    runs: tuple[str, ...]
    video: str | None = None
    done: int | None = None
    total: int | None = None
    seconds: float | None = None
    error: str | None = None


Listener = Callable[[Event], None]
