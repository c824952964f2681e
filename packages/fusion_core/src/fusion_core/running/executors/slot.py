"""A place for one worker, and what every executor offers: some of these."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fusion_core.running.worker import JobError, Report, Session, Task, VideoError, WorkerLostError


class Verdict(StrEnum):
    """What became of a video."""

    DONE = "done"
    FAILED = "failed"  # the program said so
    LOST = "lost"  # its worker ended in the middle; another may try
    HOPELESS = "hopeless"  # no worker of this task will do any video


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a video that was given to a slot.

    Attributes:
        verdict: in one word.
        error: why, unless it is done.
        seconds: that it took, the start of the worker included.
    """

    verdict: Verdict
    error: str = ""
    seconds: float = 0.0


class Slot:
    """Keeps one worker, and does one video after another with it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._task: Task | None = None
        self._session: Session | None = None
        self._killed = False

    def process(self, task: Task, video: str, report: Report = lambda done, total: None) -> Outcome:
        """Do a video; the worker is another one if the task is."""
        start = time.monotonic()

        def outcome(verdict: Verdict, error: object = "") -> Outcome:
            return Outcome(verdict=verdict, error=str(error), seconds=time.monotonic() - start)

        try:
            self._session_for(task).process(video, report)
        except VideoError as error:
            return outcome(Verdict.FAILED, error)
        except WorkerLostError as error:
            self.close()
            return outcome(Verdict.LOST, error)
        except JobError as error:
            self.close()
            return outcome(Verdict.HOPELESS, error)
        return outcome(Verdict.DONE)

    def close(self) -> None:
        """Let the worker end."""
        session, self._session, self._task = self._session, None, None
        if session is not None:
            session.close()

    def kill(self) -> None:
        """End the worker at once; may be called while `process` runs in another thread, which then gives it as lost."""
        self._killed = True
        if self._session is not None:
            self._session.kill()

    def _session_for(self, task: Task) -> Session:
        if self._session is None or task != self._task:
            self.close()
            self._session, self._task = task.open(self._environment), task
            if self._killed:  # while it was opened
                self._session.kill()
        return self._session


class SlotHandle(Protocol):
    """A slot, wherever it is."""

    def submit(self, task: Task, video: str, report: Report) -> "Future[Outcome]":
        """Have a video done. One at a time."""
        ...

    def ready(self) -> "Future[None] | None":
        """When the slot can be used, at first and after it has lost a video; None: at once."""
        ...


class Executor(Protocol):
    """Slots for as long as it is entered; on an error, workers that are at it are ended at once."""

    def __enter__(self) -> Sequence[SlotHandle]: ...

    def __exit__(self, *error: object) -> None: ...
