"""Carries drawn masks on with a propagator, one job at a time, in a process of its own that stays for the next one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Self

from mask_interchange import MaskInterchangeError

from fusion_core.errors import FusionCoreError, ProgramError
from fusion_core.running.environments import find_program
from fusion_core.view.anchors import AGREE, Span, references, spans
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import CACHES
from fusion_core.view.request_values import NotThereError, RequestError
from fusion_core.view.warm_program import WarmProgram

PROPAGATORS = ("aot-propagate", "deaot-propagate", "cutie-propagate", "sam2-propagate")


class BusyError(FusionCoreError):
    """A job while there is another one."""


@dataclass(kw_only=True)
class Job:
    """One propagation.

    Attributes:
        number: of the job.
        v: number of the video.
        e: number of the expression.
        propagator: its program.
        state: `running`, `done`, `failed` or `stopped`.
        text: what is done now, or what has happened, in words.
        done: masks that are done.
        total: masks in all; 0 while it is not known.
        changed: first frame that has other masks, and the one after the last.
        doubtful: frames in the middle of gaps where both ways disagree.
    """

    number: int
    v: int
    e: int
    propagator: str
    state: str = "running"
    text: str = "starting the program"
    done: int = 0
    total: int = 0
    changed: tuple[int, int] | None = None
    doubtful: list[int] = field(default_factory=list)


class Propagation:
    """The propagators of this machine, and the job that runs.

    Args:
        corrected: what is carried on.
        data: options of programs that name the data set or video.
        commands: command lines by the name that the page gives; by default the programs of this project that are found.
    """

    def __init__(
        self, corrected: CorrectedRun, data: Sequence[str], commands: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.job: Job | None = None
        self._corrected = corrected
        self._data = data
        self._commands = {name: (name,) for name in PROPAGATORS} if commands is None else commands
        self._lock = Lock()
        self._program: WarmProgram | None = None
        self._program_of: str | None = None
        self._thread: Thread | None = None
        self.missing: dict[str, str] = {}
        for name, command in self._commands.items():
            try:
                find_program(command)
            except ProgramError as error:
                self.missing[name] = str(error)

    @property
    def available(self) -> list[str]:
        """Names of the propagators that are there."""
        return [name for name in self._commands if name not in self.missing]

    def start(self, v: int, e: int, start: int, stop: int, propagator: str) -> Job:
        """Begin to carry the anchors around start..stop-1 on.

        Raises:
            NotThereError: there is no such propagator.
            RequestError: there is no anchor to carry into these frames.
            BusyError: another job runs.
        """
        if propagator not in self.available:
            raise NotThereError(f"no propagator {propagator!r}")
        corrections = self._corrected.corrections(v)
        wanted = spans(corrections, e, start, stop)
        if not wanted:
            raise RequestError("draw a mask first: there is nothing to carry into these frames")
        self._corrected.begin()
        with self._lock:
            if self.job is not None and self.job.state == "running":
                raise BusyError("another job runs; wait for it, or stop it")
            number = 1 if self.job is None else self.job.number + 1
            job = self.job = Job(number=number, v=v, e=e, propagator=propagator)
            before = self._thread  # of a job that was stopped, and may still be ending its program
            self._thread = Thread(target=lambda: self._run(job, wanted, before), daemon=True)
            self._thread.start()
        return job

    def stop(self, number: int) -> Job:
        """End the job of this number, if it runs; nothing of it is kept.

        Raises:
            NotThereError: there is none.
        """
        job = self.job
        if job is None or job.number != number:
            raise NotThereError(f"no job {number}")
        with self._lock:
            if job.state == "running":
                job.state, job.text = "stopped", "stopped; nothing has changed"
                self._end_program()
        return job

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what runs."""
        if self.job is not None:
            self.stop(self.job.number)
        with self._lock:
            self._end_program()
        if self._thread is not None:
            self._thread.join()

    def _end_program(self) -> None:
        if self._program is not None:
            self._program.end()

    def _run(self, job: Job, wanted: Sequence[Span], before: Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            text = self._carried_on(job, wanted)
        except (FusionCoreError, MaskInterchangeError, OSError) as error:
            with self._lock:
                if job.state == "running":
                    job.state, job.text = "failed", str(error)
        else:
            with self._lock:
                if job.state == "running":
                    job.state, job.text = "done", text

    def _carried_on(self, job: Job, wanted: Sequence[Span]) -> str:
        opened, corrections = self._corrected.library.open(job.v), self._corrected.corrections(job.v)
        program = self._warm(job.propagator)

        for number, span in enumerate(wanted):

            def progress(done: int, total: int, number: int = number) -> None:
                job.done, job.total, job.text = number * total + done, len(wanted) * total, "carrying on"

            found = program.order(
                opened.video.id,
                {"frames": f"{span.frames.start}:{span.frames.stop}"},
                references(opened, corrections, job.e, span.anchors),
                status=lambda line: setattr(job, "text", line),
                progress=progress,
                is_wanted=lambda: job.state == "running",
            )
            [track] = found.tracks
            for gap in span.gaps:
                masks = [track.counts(i) for i in gap]
                with self._lock:
                    if job.state != "running":
                        return ""
                    corrections.carry(job.e, gap.start, gap.stop, masks, job.propagator)
                self._corrected.changed()
                first, last = job.changed or (gap.start, gap.stop)
                job.changed = min(first, gap.start), max(last, gap.stop)
                if (
                    span.is_between(gap)
                    and track.scores is not None
                    and track.scores[gap.start : gap.stop].max() < AGREE
                ):
                    job.doubtful.append((gap.start + gap.stop) // 2)
        frames = sum(len(gap) for span in wanted for gap in span.gaps)
        anchors = sum(len(span.anchors) for span in wanted)
        return f"{frames} frames from {anchors} drawn masks" + (
            "; both ways disagree in the middle: draw there" if job.doubtful else ""
        )

    def _warm(self, propagator: str) -> WarmProgram:
        """The program of the last job, or another one in its place."""
        library = self._corrected.library
        with self._lock:
            if self._program is None or self._program_of != propagator:
                self._end_program()
                folder = library.folder / CACHES / "jobs" / propagator
                self._program = WarmProgram(self._commands[propagator], self._data, library.dataset.name, folder)
                self._program_of = propagator
            return self._program
