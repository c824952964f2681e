"""A program's side of the worker protocol (docs/mask_format.md, section 7).

Orders come on standard input, one a line; events go to standard output, one JSON line each.
"""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Self, TextIO

from mask_interchange.json_files import Json, parse_json

_ALIVE_EVERY = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is asked for.

    Attributes:
        video: id of the video.
        details: what to do otherwise than the command line says; a program knows its own.
    """

    video: str
    details: Json = field(default_factory=dict)

    @classmethod
    def parse(cls, line: str) -> Self:
        """An order as a line; what is no JSON object with a key `video` is an id."""
        try:
            tree = parse_json(line) if line.startswith("{") else None
        except ValueError:
            tree = None
        if isinstance(tree, dict) and isinstance(tree.get("video"), str):
            return cls(
                details={key: value for key, value in tree.items() if key != "video" and value is not None},
                video=tree["video"],
            )
        return cls(video=line)


@contextmanager
def worker_streams() -> Iterator[tuple[Iterator[Order], TextIO]]:
    """Orders from standard input, and standard output for events. What libraries print goes to standard error."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    events = sys.stdout
    lines = (line.rstrip("\r\n") for line in iter(sys.stdin.readline, ""))
    with redirect_stdout(sys.stderr):
        yield (Order.parse(line) for line in lines if line), events


class WorkerEvents:
    """Writes the events, a JSON line each; the methods are those of `progress.VideoProgress`.

    A thread says every few seconds, while a video is processed, that the worker is alive. Once nobody reads the events,
    the process ends at once: its runner was killed, and another one may have begun the same video.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._one_at_a_time = threading.Lock()
        self._video: str | None = None
        threading.Thread(target=self._keep_saying_alive, name="alive", daemon=True).start()

    def started(self, video: str) -> None:
        """Event `started`."""
        self._video = video
        self._tell("started", video)

    def advanced(self, video: str, done: int, total: int) -> None:
        """Event `progress`."""
        self._tell("progress", video, done=done, total=total)

    def computed(self, video: str) -> None:
        """Event `alive`: a worker that nobody hears ends before it writes masks."""
        self._tell_alive(video)

    def done(self, video: str) -> None:
        """Event `done`."""
        self._video = None
        self._tell("done", video)

    def failed(self, video: str, error: str) -> None:
        """Event `failed`."""
        self._video = None
        self._tell("failed", video, error=error)

    def _keep_saying_alive(self) -> None:
        while True:
            time.sleep(_ALIVE_EVERY)
            if (video := self._video) is not None:
                self._tell_alive(video)

    def _tell_alive(self, video: str) -> None:
        self._tell("alive", video, processor_seconds=round(time.process_time(), 3))

    def _tell(self, event: str, video: str, **more: object) -> None:
        line = json.dumps({"event": event, "video": video, **more}) + "\n"
        try:
            with self._one_at_a_time:
                if event != "alive" or video == self._video:
                    self._stream.write(line)
                    self._stream.flush()
        except BrokenPipeError:
            sys.stderr.write("nobody reads the events any more: the worker ends\n")
            sys.stderr.flush()
            os._exit(1)
