"""A worker slot, and what every executor provides: some of these."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from program_kit.progress import ProgressCallback

from fusion_core.running.worker import JobError, Task, VideoError, Worker, WorkerLostError


class Verdict(StrEnum):
    """What became of a video."""

    DONE = "done"
    FAILED = "failed"  # the worker said so
    LOST = "lost"  # the worker ended in the middle; another one may try
    FATAL = "fatal"  # no worker of this task can do any video


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a video that was given to a slot.

    Attributes:
        verdict: in one word.
        error: why, unless it is done.
        seconds: that it took, with the start of the worker.
    """

    verdict: Verdict
    error: str = ""
    seconds: float = 0.0


class WorkerSlot:
    """Keeps one worker, and lets it do one video after another."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._task: Task | None = None
        self._worker: Worker | None = None
        self._killed = False

    def process(self, task: Task, video: str, progress: ProgressCallback = lambda done, total: None) -> Outcome:
        """Do a video; if the task is another one than before, a new worker starts."""
        start = time.monotonic()

        def outcome(verdict: Verdict, error: object = "") -> Outcome:
            return Outcome(verdict=verdict, error=str(error), seconds=time.monotonic() - start)

        try:
            self._worker_for(task).process(video, progress)
        except VideoError as error:
            return outcome(Verdict.FAILED, error)
        except WorkerLostError as error:
            self.close()
            return outcome(Verdict.LOST, error)
        except JobError as error:
            self.close()
            return outcome(Verdict.FATAL, error)
        return outcome(Verdict.DONE)

    def close(self) -> None:
        """Let the worker end."""
        worker, self._worker, self._task = self._worker, None, None
        if worker is not None:
            worker.close()

    def kill(self) -> None:
        """End the worker at once. If `process` runs in another thread, it returns that the worker is lost."""
        self._killed = True
        if self._worker is not None:
            self._worker.kill()

    def _worker_for(self, task: Task) -> Worker:
        if self._worker is None or task != self._task:
            self.close()
            self._worker, self._task = task.start(self._environment), task
            if self._killed:  # while it was started
                self._worker.kill()
        return self._worker


class SlotHandle(Protocol):
    """A worker slot, wherever it is."""

    def submit(self, task: Task, video: str, progress: ProgressCallback) -> "Future[Outcome]":
        """Start to do a video. One at a time."""
        ...

    def ready(self) -> "Future[None] | None":
        """When the slot can be used, at first and after it has lost a worker; None: at once."""
        ...


class Executor(Protocol):
    """Context manager that yields worker slots; on an error it ends all workers at once."""

    def __enter__(self) -> Sequence[SlotHandle]: ...

    def __exit__(self, *error: object) -> None: ...
