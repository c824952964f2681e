"""What a worker does, as data that can be sent to another machine, and one that is at it."""

import errno
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mask_interchange import MaskInterchangeError, MaskRun

from fusion_core.errors import FusionCoreError
from fusion_core.recipe.graph import Vote
from fusion_core.voting.fused_run import Fusion
from fusion_core.worker import JobError, Report, VideoError, Worker


class Session(Protocol):
    """A worker that is ready for videos."""

    def process(self, video: str, report: Report) -> None:
        """Raises VideoError, WorkerLostError or JobError."""
        ...

    def close(self) -> None:
        """Let it end."""
        ...

    def kill(self) -> None:
        """End it at once, from any thread."""
        ...


class Task(Protocol):
    """What a worker does."""

    def open(self, environment: Mapping[str, str]) -> Session:
        """Start a worker under some more environment variables; raises JobError."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProgramTask:
    """A program of the worker protocol.

    Attributes:
        command: its command line without `--videos`.
        log: file for its messages.
    """

    command: tuple[str, ...]
    log: Path

    def open(self, environment: Mapping[str, str]) -> Worker:
        """Start the program."""
        return Worker(self.command, self.log, environment)


@dataclass(frozen=True, kw_only=True)
class VoteTask:
    """A vote in this process.

    Attributes:
        vote: the rule.
        members: folders of the runs that vote.
        out: folder of the fused run.
        faithful: see `fuse_video`.
    """

    vote: Vote
    members: tuple[Path, ...]
    out: Path
    faithful: bool

    def open(self, environment: Mapping[str, str]) -> "VoteSession":
        """Open the runs."""
        return VoteSession(self)


class VoteSession:
    """A vote whose runs are open."""

    def __init__(self, task: VoteTask) -> None:
        try:
            members = [MaskRun.open(path) for path in task.members]
            self._fusion = Fusion(task.vote, members, task.out, faithful=task.faithful)
            self._fusion.start()
        except (FusionCoreError, MaskInterchangeError) as error:
            raise JobError(str(error)) from error

    def process(self, video: str, report: Report) -> None:
        """Vote over one video."""
        try:
            with self._fusion.run.writing(shared=True):
                self._fusion.fuse(video)
        except (FusionCoreError, MaskInterchangeError) as error:
            raise VideoError(str(error)) from error
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                path = self._fusion.run.path
                raise JobError(f"the disk is full: {path}; make room, the same command continues") from error
            raise
        except Exception as error:  # one broken video must not stop the rest
            raise VideoError("".join(traceback.format_exception(error)).rstrip()) from error

    def close(self) -> None:
        """Nothing to end."""

    def kill(self) -> None:
        """Nothing to end: a vote over one video takes no time."""
