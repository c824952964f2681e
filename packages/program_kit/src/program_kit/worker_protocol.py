"""A program's side of the worker protocol (docs/mask_format.md, section 7).

Video ids come on standard input, one a line; events go to standard output, one JSON line each.
"""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def worker_streams() -> Iterator[tuple[Iterator[str], TextIO]]:
    """Video ids from standard input, and standard output for events. What libraries print goes to standard error."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    events = sys.stdout
    ids = (line.rstrip("\r\n") for line in iter(sys.stdin.readline, ""))
    with redirect_stdout(sys.stderr):
        yield (video for video in ids if video), events


class WorkerEvents:
    """Writes the events, a JSON line each; the methods are those of `progress.VideoProgress`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def started(self, video: str) -> None:
        """Event `started`."""
        self._tell("started", video)

    def advanced(self, video: str, done: int, total: int) -> None:
        """Event `progress`."""
        self._tell("progress", video, done=done, total=total)

    def done(self, video: str) -> None:
        """Event `done`."""
        self._tell("done", video)

    def failed(self, video: str, error: str) -> None:
        """Event `failed`."""
        self._tell("failed", video, error=error)

    def _tell(self, event: str, video: str, **more: object) -> None:
        self._stream.write(json.dumps({"event": event, "video": video, **more}) + "\n")
        self._stream.flush()
