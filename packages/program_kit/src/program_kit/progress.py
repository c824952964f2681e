"""Progress over the videos of a run: bars on a terminal, plain lines in a log file."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from program_kit.messages import about, draws_bars, log

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

ProgressCallback = Callable[[int, int], None]  # units of work done, units in all

_LINE_EVERY = 30.0  # seconds between two lines about one video; a line per frame would drown the rest


def line_is_due(last: float) -> bool:
    """Whether a line about a slow video is due, if the last one was said at this time of `time.monotonic`."""
    return time.monotonic() - last > (1.0 if log.isEnabledFor(logging.DEBUG) else _LINE_EVERY)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as `2:05:10` or `5:10`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Pace:
    """How long a work takes, by its first part; counted from the first report on, which comes when loading is over."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def seconds(self, done: int, total: int) -> float | None:
        """Seconds for all of it, None at the first report."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        since, begun = self._first
        return (now - since) * total / (done - begun) if done > begun else None


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
        self._pace = Pace()

    def started(self, video: str) -> None:
        """Count the video."""
        self._number += 1
        self._since = self._last_line = time.monotonic()
        self._pace = Pace()

    def advanced(self, video: str, done: int, total: int) -> None:
        """Write a line about a slow video now and then."""
        seconds = self._pace.seconds(done, total)
        if line_is_due(self._last_line):
            self._last_line = time.monotonic()
            left = "" if seconds is None else f", about {duration(seconds * (total - done) / total)} left"
            self._say(f"{video}: {done} of {total}{left}", video=video, done=done, total=total)

    def computed(self, video: str) -> None:
        """Nothing: it is done in a moment."""

    def done(self, video: str) -> None:
        """Write how long the video took."""
        seconds = time.monotonic() - self._since
        self._say(f"{video}: done in {seconds:.1f} s", video=video, seconds=round(seconds, 3))

    def failed(self, video: str, error: str) -> None:
        """Write that the video failed; the reason follows at the end."""
        self._say(f"{video}: failed", video=video)

    def _say(self, text: str, **values: object) -> None:
        log.info(f"[{self._number}/{self._total}] {text}", extra=about(**values))


class ProgressBars:
    """A bar over the videos with rate and time left, and one over the current video, for terminals."""

    def __init__(self, progress: "Progress", total: int):
        self._progress = progress
        self._finished = 0
        self._videos = progress.add_task("videos", total=total)
        self._current = progress.add_task("", total=None, visible=False)

    def started(self, video: str) -> None:
        """Show the video; its first report tells how much work it is."""
        self._progress.reset(self._current, total=None, description=video, visible=True)

    def advanced(self, video: str, done: int, total: int) -> None:
        """Move the current video's bar."""
        self._progress.update(self._current, completed=done, total=total)
        self._progress.update(self._videos, completed=self._finished + done / max(1, total))

    def computed(self, video: str) -> None:
        """Nothing: it is done in a moment."""

    def done(self, video: str) -> None:
        """Move the bar over the videos."""
        self._progress.update(self._current, visible=False)
        self._finished += 1
        self._progress.update(self._videos, completed=self._finished)

    def failed(self, video: str, error: str) -> None:
        """Say it above the bars; the reason follows at the end."""
        self._progress.console.print(f"{video}: failed", markup=False, highlight=False)
        self.done(video)


def columns() -> "tuple[ProgressColumn, ...]":
    """Of every bar: what, how much, how many of how many where that is known, and times."""
    from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class CountColumn(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text(f"{int(task.completed)}" if task.completed else "")
            return super().render(task)

    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        CountColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


@contextmanager
def _progress_bars(total: int) -> Iterator[ProgressBars]:
    """Bars for `total` videos on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns(), console=Console(stderr=True)) as progress:
        yield ProgressBars(progress, total)


@contextmanager
def show_progress(total: int, finished: int) -> Iterator[VideoProgress]:
    """Bars on a terminal, plain lines elsewhere; `finished` videos were there before."""
    if finished:
        log.info(f"{finished} videos are finished already, {total} to do")
    if draws_bars():
        with _progress_bars(total) as bars:
            yield bars
    else:
        yield ProgressLines(total)
