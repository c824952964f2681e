"""Progress on a terminal: a bar over the videos with rate and time left, and one over the current video."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bars:
    """Two bars; see `mask_interchange.program` for the calls."""

    def __init__(self, progress: Progress, total: int):
        self._progress = progress
        self._videos = progress.add_task("videos", total=total)
        self._current = progress.add_task("", total=None, visible=False)

    def started(self, video: str) -> None:
        """Show the video; how much work it is, its first report tells."""
        self._progress.reset(self._current, total=None, description=video, visible=True)

    def advanced(self, video: str, done: int, total: int) -> None:
        """Move the current video's bar."""
        self._progress.update(self._current, completed=done, total=total)

    def done(self, video: str) -> None:
        """Move the bar over the videos."""
        self._progress.update(self._current, visible=False)
        self._progress.advance(self._videos)

    def failed(self, video: str, error: str) -> None:
        """Say it above the bars; the reason follows at the end."""
        self._progress.console.print(f"{video}: failed", markup=False, highlight=False)
        self.done(video)


@contextmanager
def progress_bars(total: int) -> Iterator[Bars]:
    """Bars for `total` videos on standard error."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress, total)
