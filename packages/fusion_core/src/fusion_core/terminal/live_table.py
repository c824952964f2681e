"""What people and programs see while a recipe is carried out: a live table, plain lines, or JSON lines."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fusion_core.running.plan import Plan
from fusion_core.running.scheduler import Event, Listener

LINE_EVERY = 30.0  # seconds between two lines about one video


@contextmanager
def watching(plan: Plan, *, machine: bool = False) -> Iterator[Listener]:
    """What tells of a run while it lasts: JSON lines for machines; for people a table on a terminal, else lines."""
    console = Console(stderr=True)
    if machine:
        yield tell_json
    elif console.is_terminal:
        table = LiveTable(plan)
        with Live(get_renderable=table.draw, console=console, refresh_per_second=4):
            yield table
    else:
        yield Lines()


def tell_json(event: Event) -> None:
    """One JSON object a line."""
    told = {key: value for key, value in asdict(event).items() if value not in (None, "")}
    typer.echo(json.dumps(told))


class Lines:
    """Plain lines on standard error, for logs."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._told: dict[tuple[str, str | None], float] = {}

    def __call__(self, event: Event) -> None:
        """Tell what happened."""
        done, total = self._counts.get(event.job, (0, 0))
        match event.event:
            case "ready":
                if event.job not in self._counts and event.done:
                    self._say(f"{event.job}: {event.done} of {event.total} videos are there already")
                self._counts[event.job] = (event.done or 0, event.total or 0)
            case "done":
                self._counts[event.job] = (done + 1, total)
                self._say(f"{event.job} [{done + 1}/{total}] {event.video}: done in {event.seconds:.1f} s")
            case "progress":
                if time.monotonic() - self._told.setdefault((event.job, event.video), time.monotonic()) > LINE_EVERY:
                    self._told[event.job, event.video] = time.monotonic()
                    self._say(f"{event.job} {event.video}: {event.done} of {event.total}")
            case "failed":
                self._say(f"{event.job} {event.video}: failed")
            case "retried":
                self._say(f"{event.job} {event.video}: another worker tries: {first_line(event.error)}")
            case "given up":
                self._say(f"{event.job}: given up: {first_line(event.error)}")
            case "preparing" | "note":
                self._say(f"{event.job}: {event.error}")

    def _say(self, text: str) -> None:
        typer.echo(text, err=True)


@dataclass
class _Row:
    """What the table knows of a job."""

    done: int
    total: int
    expected: float | None  # seconds for all that is missing, from earlier runs
    computed: int = 0
    seconds: float = 0.0
    failed: int = 0
    working: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def left(self) -> float | None:
        """Seconds, None if nothing is known."""
        missing = self.total - self.done - self.failed
        if missing <= 0:
            return 0.0
        if self.computed:
            return missing * self.seconds / self.computed / max(1, len(self.working))
        return self.expected


class LiveTable:
    """A table with a row for every job; told from several threads."""

    def __init__(self, plan: Plan) -> None:
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._total = len(plan.videos)
        self._plan: Mapping[str, float | None] = {look.node.name: look.seconds for look in plan.nodes}
        self._done = {look.node.name: len(look.done) for look in plan.nodes}

    def __call__(self, event: Event) -> None:
        """Take note of what happened."""
        with self._lock:
            row = self._row(event.job)
            video = event.video or ""
            match event.event:
                case "ready":
                    row.done, row.total = event.done or 0, event.total or 0
                case "preparing":
                    row.working[""] = first_line(event.error)
                case "started":
                    row.working.pop("", None)
                    row.working[video] = video
                case "progress":
                    row.working[video] = f"{video} {event.done}/{event.total}"
                case "done":
                    row.done, row.computed = row.done + 1, row.computed + 1
                    row.seconds += event.seconds or 0
                    row.working.pop(video, None)
                case "failed":
                    row.failed += 1
                    row.working.pop(video, None)
                case "retried":
                    row.working.pop(video, None)
                case "given up" | "note":
                    row.working.pop("", None)
                    row.note = first_line(event.error)

    def draw(self) -> Table:
        """The table as it stands."""
        table = Table("run", "videos", "s / video", "left", "at work", box=None, pad_edge=False)
        with self._lock:
            for name, row in self._rows.items():
                rate = f"{row.seconds / row.computed:.1f}" if row.computed else ""
                videos = f"{row.done}/{row.total}" + (f", {row.failed} failed" if row.failed else "")
                left = "" if row.left is None else duration(row.left)
                table.add_row(name, videos, rate, left, ", ".join(row.working.values()) or row.note, style=_style(row))
        return table

    def _row(self, job: str) -> _Row:
        if job not in self._rows:
            runs = job.split(" + ")
            parts = [self._plan.get(run) for run in runs]
            expected = None if None in parts else sum(part for part in parts if part is not None)
            done = min(self._done.get(run, 0) for run in runs)
            self._rows[job] = _Row(done=done, total=self._total, expected=expected)
        return self._rows[job]


def _style(row: _Row) -> str | None:
    if row.failed:
        return "red"
    return "bold" if row.working else ("dim" if row.done == row.total else None)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as `2:05:10` or `5:10`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def first_line(text: str | None) -> str:
    """Enough of an error to be told in passing; the whole of it comes at the end."""
    return (text or "").partition("\n")[0]
