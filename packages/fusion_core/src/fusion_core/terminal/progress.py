"""A progress bar on a terminal, and nothing elsewhere: what commands print is their result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from program_kit.messages import draws_bars
from program_kit.progress import columns


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Context manager that yields a function to call with items done and in all (None: unknown); shown on stderr."""
    if not draws_bars():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
