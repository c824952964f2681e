"""What is shown while a recipe is carried out: a live table or plain lines for people, JSON lines for programs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer
from program_kit.messages import about, draws_bars, log
from program_kit.progress import Pace, duration, line_is_due
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fusion_core.running.events import Event, EventKind, Listener
from fusion_core.running.plan import Plan, total_seconds


@contextmanager
def watching(plan: Plan, *, json_lines: bool = False) -> Iterator[Listener]:
    """Context manager that yields a listener: JSON lines, or for people a table on a terminal and lines elsewhere."""
    if json_lines:
        yield print_json
    elif draws_bars():
        table = LiveTable(plan)
        with Live(get_renderable=table.draw, console=Console(stderr=True), refresh_per_second=4):
            yield table
    else:
        yield Lines()


def print_json(event: Event) -> None:
    """Print an event as one JSON object a line."""
    typer.echo(json.dumps(_values(event)))


def _values(event: Event) -> dict[str, Any]:
    """An event as JSON; fields without a value are left out."""
    tree = {
        "event": event.kind.value,
        "job": event.job,
        "runs": event.runs,
        "video": event.video,
        "done": event.done,
        "total": event.total,
        "seconds": event.seconds,
        "error": event.error,
    }
    return {key: value for key, value in tree.items() if value not in (None, "")}


class Lines:
    """Plain lines on standard error, for logs."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}  # done and total, by job
        self._last_line: dict[tuple[str, str | None], float] = {}

    def __call__(self, event: Event) -> None:
        """Write a line about what has happened."""
        done, total = self._counts.get(event.job, (0, 0))
        match event.kind:
            case EventKind.READY:
                if event.job not in self._counts and event.done:
                    self._say(f"{event.job}: {event.done} of {event.total} videos are done already", event)
                self._counts[event.job] = (event.done or 0, event.total or 0)
            case EventKind.DONE:
                self._counts[event.job] = (done + 1, total)
                self._say(f"{event.job} [{done + 1}/{total}] {event.video}: done in {event.seconds:.1f} s", event)
            case EventKind.PROGRESS:
                now, key = time.monotonic(), (event.job, event.video)
                if line_is_due(self._last_line.setdefault(key, now)):
                    self._last_line[key] = now
                    self._say(f"{event.job} {event.video}: {event.done} of {event.total}", event)
            case EventKind.FAILED:
                self._say(f"{event.job} {event.video}: failed", event)
            case EventKind.RETRIED:
                self._say(f"{event.job} {event.video}: another worker tries: {first_line(event.error)}", event)
            case EventKind.GIVEN_UP:
                self._say(f"{event.job}: given up: {first_line(event.error)}", event)
            case EventKind.PREPARING | EventKind.NOTE:
                self._say(f"{event.job}: {event.error}", event)

    def _say(self, text: str, event: Event) -> None:
        log.info(text, extra=about(**_values(event)))


@dataclass
class _Working:
    """A video at work."""

    text: str
    share: float = 0.0  # of it that is done
    pace: Pace = field(default_factory=Pace)


@dataclass
class _Row:
    """What the table shows of a job."""

    done: int
    total: int
    expected: float | None  # seconds for all missing videos, from earlier runs
    computed: int = 0
    seconds: float = 0.0
    failed: int = 0
    working: dict[str, _Working] = field(default_factory=dict)
    guess: float | None = None  # seconds for a video, by the first frames of one
    note: str = ""

    @property
    def left(self) -> float | None:
        """Seconds, None if nothing is known."""
        missing = self.total - self.done - self.failed - sum(one.share for one in self.working.values())
        if missing <= 0:
            return 0.0
        each = self.seconds / self.computed if self.computed else self.guess
        return self.expected if each is None else missing * each / max(1, len(self.working))


class LiveTable:
    """A table with a row for each job; may be called from several threads."""

    def __init__(self, plan: Plan) -> None:
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._total = len(plan.videos)
        self._nodes = {node.node.name: node for node in plan.nodes}

    def __call__(self, event: Event) -> None:
        """Update the row of the event's job."""
        with self._lock:
            row = self._row(event)
            video = event.video or ""
            match event.kind:
                case EventKind.READY:
                    row.done, row.total = event.done or 0, event.total or 0
                case EventKind.PREPARING:
                    row.working[""] = _Working(first_line(event.error))
                case EventKind.STARTED:
                    row.working.pop("", None)
                    row.working[video] = _Working(video)
                case EventKind.PROGRESS:
                    one = row.working.setdefault(video, _Working(video))
                    done, total = event.done or 0, event.total or 1
                    one.text, one.share = f"{video} {done}/{total}", done / total
                    row.guess = one.pace.seconds(done, total) or row.guess
                case EventKind.DONE:
                    row.done, row.computed = row.done + 1, row.computed + 1
                    row.seconds += event.seconds or 0
                    row.working.pop(video, None)
                case EventKind.FAILED:
                    row.failed += 1
                    row.working.pop(video, None)
                case EventKind.RETRIED:
                    row.working.pop(video, None)
                case EventKind.GIVEN_UP | EventKind.NOTE:
                    row.working.pop("", None)
                    row.note = first_line(event.error)

    def draw(self) -> Table:
        """The table as it is now."""
        table = Table("run", "videos", "s / video", "left", "at work", box=None, pad_edge=False)
        with self._lock:
            for name, row in self._rows.items():
                rate = f"{row.seconds / row.computed:.1f}" if row.computed else ""
                videos = f"{row.done}/{row.total}" + (f", {row.failed} failed" if row.failed else "")
                left = "" if row.left is None else duration(row.left)
                at_work = ", ".join(one.text for one in row.working.values())
                table.add_row(name, videos, rate, left, at_work or row.note, style=_style(row))
        return table

    def _row(self, event: Event) -> _Row:
        if event.job not in self._rows:
            nodes = [self._nodes[run] for run in event.runs]
            done = min(len(node.done) for node in nodes)
            self._rows[event.job] = _Row(done=done, total=self._total, expected=total_seconds(nodes))
        return self._rows[event.job]


def _style(row: _Row) -> str | None:
    if row.failed:
        return "red"
    return "bold" if row.working else ("dim" if row.done == row.total else None)


def first_line(text: str | None) -> str:
    """The first line of an error; the whole text comes at the end."""
    return (text or "").partition("\n")[0]
