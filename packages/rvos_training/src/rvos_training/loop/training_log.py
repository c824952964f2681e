"""The log of a training: `log.jsonl` with a line for each step, curves for TensorBoard, progress on the terminal."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mask_interchange.files import write_whole
from program_kit.messages import draws_bars, log
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue] - made by protobuf
from tensorboardX.summary import scalar

from rvos_training.writing import explained

LINE_EVERY = 10.0  # seconds between two plain lines


class TrainingLog:
    """Writes the measurements of a training. Use as a context manager.

    Args:
        folder: of the training.
        step: step that the training resumes from; lines of later steps, which a stopped process wrote, are removed.
        total: number of steps.
        validated: step of the last validation.
    """

    def __init__(self, folder: Path, *, step: int, total: int, validated: int) -> None:
        self.file, curves = folder / "log.jsonl", folder / "tensorboard"
        with explained(folder):
            curves.mkdir(parents=True, exist_ok=True)
            self._cut(step, validated)
            self._lines = self.file.open("a", encoding="utf-8")
            # tensorboardX's SummaryWriter writes in a thread, which dies unheard on a full disk
            self._curves = EventsWriter(str(curves / "events"))
            self._curve(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._from, self._total = step, total
        self._said = 0.0
        self._bar = self._task = None
        if draws_bars():
            columns = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            console = Console(stderr=True)
            self._bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), *columns, console=console)
            self._task = self._bar.add_task("steps", total=total, completed=step)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        if self._from:
            self.say(f"resuming after step {self._from}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be written has been said
            self._lines.close()
        with suppress(OSError):
            self._curves.close()
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """One step of the optimizer."""
        self._write("train", step, epoch, values)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=f"loss {values['loss']:.3f}")
        elif time.monotonic() - self._said > LINE_EVERY or step == self._total:
            self._said = time.monotonic()
            self.say(f"step {step} of {self._total}, epoch {epoch + 1}: loss {values['loss']:.4f}")

    def validation(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Scores of the network after a step."""
        self._write("validation", step, epoch, values)
        self.say(f"after step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))

    def say(self, text: str) -> None:
        """A line for the user, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            log.info(text)

    def _write(self, event: str, step: int, epoch: int, values: Mapping[str, float]) -> None:
        with explained(self.file.parent):
            self._lines.write(json.dumps({"event": event, "step": step, "epoch": epoch, **values}) + "\n")
            self._lines.flush()
            for name, value in values.items():
                self._curve(Event(step=step, summary=scalar(f"{event}/{name}", value)))

    def _curve(self, event: Event) -> None:
        event.wall_time = time.time()
        self._curves.write_event(event)
        self._curves.flush()

    def _cut(self, step: int, validated: int) -> None:
        """Keep only the lines up to the checkpoint."""
        if not self.file.exists():
            return
        reached = {"train": step, "validation": validated}
        kept = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                if entry["step"] <= reached[entry["event"]]:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line that was being written when the process was killed
        write_whole(self.file, "".join(line + "\n" for line in kept).encode())
