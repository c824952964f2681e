"""Progress over the videos of a run: bars on a terminal, plain lines in a log file."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

ProgressCallback = Callable[[int, int], None]  # units of work done, units in all

_LINE_EVERY = 30.0  # seconds between two lines about one video; a line per frame would drown the rest


class VideoProgress(Protocol):
    """What the run loop reports to. `failed` gets the whole message."""

    def started(self, video: str) -> None:
        """A video begins."""
        ...

    def advanced(self, video: str, done: int, total: int) -> None:
        """Some units of work on a video are done, of so many."""
        ...

    def computed(self, video: str) -> None:
        """The masks of a video are about to be written."""
        ...

    def done(self, video: str) -> None:
        """A video is finished."""
        ...

    def failed(self, video: str, error: str) -> None:
        """A video failed, and why."""
        ...


class ProgressLines:
    """Plain lines, for log files."""

    def __init__(self, total: int):
        self._total = total
        self._number = 0
        self._since = self._last_line = 0.0

    def started(self, video: str) -> None:
        """Count the video."""
        self._number += 1
        self._since = self._last_line = time.monotonic()

    def advanced(self, video: str, done: int, total: int) -> None:
        """Write a line about a slow video now and then."""
        if time.monotonic() - self._last_line > _LINE_EVERY:
            self._last_line = time.monotonic()
            self._say(f"{video}: {done} of {total}")

    def computed(self, video: str) -> None:
        """Nothing: it is done in a moment."""

    def done(self, video: str) -> None:
        """Write how long the video took."""
        self._say(f"{video}: done in {time.monotonic() - self._since:.1f} s")

    def failed(self, video: str, error: str) -> None:
        """Write that the video failed; the reason follows at the end."""
        self._say(f"{video}: failed")

    def _say(self, text: str) -> None:
        typer.echo(f"[{self._number}/{self._total}] {text}", err=True)


class ProgressBars:
    """A bar over the videos with rate and time left, and one over the current video, for terminals."""

    def __init__(self, progress: "Progress", total: int):
        self._progress = progress
        self._videos = progress.add_task("videos", total=total)
        self._current = progress.add_task("", total=None, visible=False)

    def started(self, video: str) -> None:
        """Show the video; its first report tells how much work it is."""
        self._progress.reset(self._current, total=None, description=video, visible=True)

    def advanced(self, video: str, done: int, total: int) -> None:
        """Move the current video's bar."""
        self._progress.update(self._current, completed=done, total=total)

    def computed(self, video: str) -> None:
        """Nothing: it is done in a moment."""

    def done(self, video: str) -> None:
        """Move the bar over the videos."""
        self._progress.update(self._current, visible=False)
        self._progress.advance(self._videos)

    def failed(self, video: str, error: str) -> None:
        """Say it above the bars; the reason follows at the end."""
        self._progress.console.print(f"{video}: failed", markup=False, highlight=False)
        self.done(video)


@contextmanager
def _progress_bars(total: int) -> Iterator[ProgressBars]:
    """Bars for `total` videos on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield ProgressBars(progress, total)


@contextmanager
def show_progress(total: int, finished: int) -> Iterator[VideoProgress]:
    """Bars on a terminal, plain lines elsewhere; `finished` videos were there before."""
    if finished:
        typer.echo(f"{finished} videos are finished already, {total} to do", err=True)
    if sys.stderr.isatty():
        with _progress_bars(total) as bars:
            yield bars
    else:
        yield ProgressLines(total)
