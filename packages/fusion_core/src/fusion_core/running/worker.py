"""What a worker does, as data that can be sent to another machine, and workers: a program, or a vote.

A program is spoken to by the worker protocol (docs/mask_format.md, section 7).
"""

import json
import math
import os
import select
import shlex
import signal
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mask_interchange import MaskInterchangeError, MaskRun
from mask_interchange.files import is_disk_full
from program_kit import messages
from program_kit.progress import ProgressCallback

from fusion_core.errors import FusionCoreError
from fusion_core.recipe.nodes import FusionNode
from fusion_core.voting.fused_run import FusedRun

STALL = 1800.0  # seconds; programs that never say that they are alive may compute for so long in silence
MAX_LINE = 2**20  # bytes of one event; a traceback is far shorter
MAX_ERROR = 2**14  # characters of a message that are kept
LOG_TAIL = 15  # lines of a program's log that an error shows
_PATIENCE = 10.0  # seconds that a program gets to end by itself
_AT_WORK = 0.01  # processor seconds a second that a worker needs to count as one that computes


_FIELDS = {
    "progress": {"done": int, "total": int},
    "alive": {"processor_seconds": (int, float)},
    "failed": {"error": str},
}


class VideoError(FusionCoreError):
    """The worker cannot do this video; it is ready for the next one."""


class WorkerLostError(FusionCoreError):
    """The program ended, or broke the protocol, in the middle of a video; another process may try again."""


class JobError(FusionCoreError):
    """No worker of this task can do any video: its arguments or weights are wrong, or the disk is full."""


class Worker(Protocol):
    """Does one video after the other."""

    def process(self, video: str, progress: ProgressCallback) -> None:
        """Raises VideoError, WorkerLostError or JobError."""
        ...

    def close(self) -> None:
        """Let it end."""
        ...

    def kill(self) -> None:
        """End it at once; may be called from any thread."""
        ...


class Task(Protocol):
    """What a worker does."""

    def start(self, environment: Mapping[str, str]) -> Worker:
        """Start a worker with some more environment variables; raises JobError."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProgramTask:
    """A program that follows the worker protocol.

    Attributes:
        command: its command line, without `--videos`.
        log: file to which its messages are appended.
        stall: seconds after which a worker that has given no sign of life counts as lost.
    """

    command: tuple[str, ...]
    log: Path
    stall: float = STALL

    def start(self, environment: Mapping[str, str]) -> "ProgramWorker":
        """Start the program."""
        return ProgramWorker(self.command, self.log, environment, self.stall)


@dataclass(frozen=True, kw_only=True)
class FusionTask:
    """A vote, or another node that needs no program, in this process.

    Attributes:
        node: the rule.
        members: folders of the runs that it reads.
        out: folder of the fused run.
    """

    node: FusionNode
    members: tuple[Path, ...]
    out: Path

    def start(self, environment: Mapping[str, str]) -> "FusionWorker":
        """Open the runs."""
        return FusionWorker(self)


class FusionWorker:
    """A node whose runs are open."""

    def __init__(self, task: FusionTask) -> None:
        try:
            self._fused_run = FusedRun(task.node, [MaskRun.open(path) for path in task.members], task.out)
            self._fused_run.start()
        except (FusionCoreError, MaskInterchangeError) as error:
            raise JobError(str(error)) from error

    def process(self, video: str, progress: ProgressCallback) -> None:
        """Make one video."""
        try:
            with self._fused_run.run.writing(shared=True):
                self._fused_run.fuse(video)
        except (FusionCoreError, MaskInterchangeError) as error:
            raise VideoError(str(error)) from error
        except OSError as error:
            if is_disk_full(error):
                path = self._fused_run.run.path
                raise JobError(f"the disk is full: {path}; make room, the same command continues") from error
            raise
        except Exception as error:  # one broken video must not stop the rest
            raise VideoError("".join(traceback.format_exception(error)).rstrip()) from error

    def close(self) -> None:
        """Nothing to end."""

    def kill(self) -> None:
        """Nothing to end: a vote over one video takes no time."""


class ProgramWorker:
    """A process of a program that keeps its model loaded and is given videos one by one.

    Args:
        command: the whole command line, without `--videos`.
        log: file to which its messages are appended.
        environment: variables beside those of this process.
        stall: seconds after which a worker that has given no sign of life counts as lost.

    Raises:
        JobError: the process cannot be started.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], stall: float = STALL) -> None:
        if not hasattr(select, "poll"):
            raise JobError("programs are started on Linux and macOS only; on Windows use WSL")
        self._log = log
        self._stall = stall
        self._received = bytearray()  # what the process has said since its last whole line
        self._last_failure: str | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        messages.log.debug(f"$ {shlex.join(command)} --videos -")
        inherited = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "COLUMNS"}}
        with open(log, "ab") as said:
            said.write(f"$ {shlex.join(command)} --videos -\n".encode())
            said.flush()
            try:
                self._process = subprocess.Popen(
                    [*command, "--videos", "-"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env={**inherited, **environment},
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C is for the runner, which then ends its workers
                )
            except OSError as error:
                raise JobError(f"{command[0]}: cannot be started: {error.strerror}") from error
        assert self._process.stdout is not None
        self._readable = select.poll()
        self._readable.register(self._process.stdout, select.POLLIN)

    def process(self, video: str, progress: ProgressCallback, details: Mapping[str, object] | None = None) -> None:
        """Let it do one video.

        Args:
            video: its id.
            progress: told how far it is.
            details: what to do otherwise than its command line says.

        Raises:
            VideoError, WorkerLostError, JobError: see there.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            order = json.dumps({"video": video, **details}) if details else video
            self._process.stdin.write(f"{order}\n".encode(errors="surrogateescape"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        heard, computed = time.monotonic(), 0.0  # when it gave a sign of life, and its processor time then
        while line := self._line(heard + self._stall):
            event = self._read(line, video)
            match event["event"]:
                case "alive":  # certifies no progress by itself: a thread of a process that hangs says it, too
                    if event["processor_seconds"] - computed < _AT_WORK * (time.monotonic() - heard):
                        continue
                    computed = event["processor_seconds"]
                case "progress":
                    progress(event["done"], event["total"])
                case "done":
                    return
                case "failed":
                    self._last_failure = event["error"].replace("\0", "")[:MAX_ERROR]
                    raise VideoError(self._last_failure)
            heard = time.monotonic()
        raise self._ended()

    def _line(self, deadline: float) -> bytes:
        """The next line of the process; empty if there is none any more.

        Raises:
            WorkerLostError: it has said nothing until the deadline.
        """
        assert self._process.stdout is not None
        start = 0
        while (end := self._received.find(b"\n", start)) < 0 and len(self._received) < MAX_LINE:
            start = len(self._received)
            if not self._readable.poll(1000 * max(0.0, deadline - time.monotonic())):
                self.kill()
                raise WorkerLostError(
                    f"gave no sign of life for {self._stall:.0f} s, and was ended (--stall){self._tail()}"
                )
            if not (more := os.read(self._process.stdout.fileno(), 2**16)):
                break
            self._received += more
        length = end + 1 if end >= 0 else min(len(self._received), MAX_LINE)
        line = bytes(self._received[:length])
        del self._received[:length]
        return line

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()

    def kill(self) -> None:
        """End the process and those that it has started, at once; masks are written whole or not at all."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # the system may hold it, as in a file system that does not answer
            self._process.wait(_PATIENCE)

    def _read(self, line: bytes, video: str) -> dict[str, Any]:
        """The event on a line."""
        with suppress(ValueError, KeyError, TypeError, RecursionError, OverflowError):
            event = json.loads(line)
            expected = _FIELDS.get(event["event"], {})
            is_sound = all(isinstance(event[key], kind) for key, kind in expected.items())
            if event["video"] == video and is_sound and math.isfinite(event.get("processor_seconds", 0)):
                return event
        self.kill()
        found = line.decode(errors="replace").strip()
        raise WorkerLostError(
            f"expected a line of the worker protocol about video {video!r}, found {found:.200}{self._tail()}"
        )

    def _ended(self) -> FusionCoreError:
        """The error for a process that ended before it had answered."""
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return WorkerLostError(f"closed its standard output without an answer{self._tail()}")
        if code == 1 and self._last_failure is not None:  # a worker ends like this if the disk is full
            return JobError(self._last_failure)
        if code == 2:
            return JobError(f"ended with exit code 2{self._tail()}")
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return WorkerLostError(f"{how} in the middle of the video{self._tail()}")

    def _tail(self) -> str:
        """The last messages of this process, for an error."""
        with open(self._log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16))
            lines = file.read().decode(errors="replace").splitlines()
        start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=-1)
        said = [line for line in lines[start + 1 :] if line.strip()][-LOG_TAIL:]
        return "".join(f"\n    {line}" for line in [*said, f"(log: {self._log})"])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
