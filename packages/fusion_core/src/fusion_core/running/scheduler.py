"""Gives videos to workers until nothing is left to do.

A video is ready for a job as soon as all runs that the job reads have it. A free slot takes the job whose model
it has loaded. If that has no ready video, the slot takes the job with the most ready videos per worker.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from mask_interchange import MaskInterchangeError
from program_kit.progress import ProgressCallback

from fusion_core.errors import FusionCoreError
from fusion_core.running.events import Event, EventKind, Listener
from fusion_core.running.executors.slot import Outcome, SlotHandle, Verdict
from fusion_core.running.jobs import Job
from fusion_core.running.worker import Task

ATTEMPTS = 2  # workers that may be lost over one video
LOST_IN_A_ROW = 4  # workers that may be lost before a job has done any video


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video that a job could not do.

    Attributes:
        job: its name.
        video: its id.
        error: why; the whole text.
        command: to see what goes wrong.
    """

    job: str
    video: str
    error: str
    command: Sequence[str]


@dataclass(kw_only=True, eq=False)
class _State:
    """How far a job is.

    Attributes:
        started: whether its runs are open.
        task: of its workers, once a slot was free for one.
        checked: videos that became ready so far.
        ready: videos to do.
        done: videos that are done.
        failed: why videos could not be done.
        lost: how many workers were lost over a video.
        workers: how many are at work.
        computed: how many videos were done by workers.
        fatal: why the job was given up, or None.
    """

    job: Job
    started: bool = False
    task: Task | None = None
    checked: set[str] = field(default_factory=set)
    ready: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    workers: int = 0
    computed: int = 0
    fatal: str | None = None

    @property
    def lost_in_a_row(self) -> int:
        """Workers that were lost before any video was done."""
        return 0 if self.computed else sum(self.lost.values())


class Scheduler:
    """Gives the videos of some jobs to workers.

    Attributes:
        failures: videos that could not be done, in the order of events.

    Args:
        jobs: in an order in which they can be done.
        videos: all of them, in the order in which they are done.
        existing: videos of runs that no job makes.
        listener: called for every event, in the thread that calls `run` or in that of a slot.
    """

    def __init__(
        self, jobs: Sequence[Job], videos: Sequence[str], existing: Mapping[str, set[str]], listener: Listener
    ) -> None:
        self._states = [_State(job=job) for job in jobs]
        self._videos = videos
        self._made = dict(existing) | {run: state.done for state in self._states for run in state.job.runs}
        self._listener = listener
        self.failures: list[Failure] = []

    @property
    def blocked(self) -> dict[str, list[str]]:
        """By job, videos that could not be begun because something before them failed."""
        left = {
            state.job.name: [video for video in self._videos if video not in state.done and video not in state.failed]
            for state in self._states
        }
        return {name: videos for name, videos in left.items() if videos}

    def run(self, slots: Sequence[SlotHandle]) -> None:
        """Go on until nothing is left that can be done."""
        idle: dict[SlotHandle, _State | None] = {}  # with what each did last
        away: dict[Future[None], SlotHandle] = {}
        busy: dict[Future[Outcome], tuple[SlotHandle, _State, str]] = {}

        def take(slot: SlotHandle, last: _State | None) -> None:
            if (ready := slot.ready()) is None:
                idle[slot] = last
            else:
                away[ready] = slot

        for slot in slots:
            take(slot, None)
        while True:
            self._find_ready_videos()
            for slot, last in list(idle.items()):
                state = self._next(last)
                if state is None or (task := self._task(state)) is None:
                    continue
                del idle[slot]
                video = state.ready.pop(0)
                state.workers += 1
                state.job.begin(video)
                self._tell(state, EventKind.STARTED, video=video)
                busy[slot.submit(task, video, self._progress_of(state, video))] = (slot, state, video)
            if not busy and not any(state.ready for state in self._states):
                return
            awaited: list[Future[Any]] = [*busy, *away]
            finished, _ = wait(awaited, return_when=FIRST_COMPLETED)
            for future in finished & busy.keys():
                slot, state, video = busy.pop(future)
                state.workers -= 1
                outcome = future.result()
                if outcome.verdict is Verdict.LOST:
                    take(slot, state)
                else:
                    idle[slot] = state
                self._settle(state, video, outcome)
            for ready in finished & away.keys():
                idle[away.pop(ready)] = None

    def _find_ready_videos(self) -> None:
        """Find videos that became ready, and those of them that are done already."""
        for state in self._states:
            if state.fatal:
                continue
            inputs = [self._made[run] for run in state.job.inputs]
            fresh = [v for v in self._videos if v not in state.checked and all(v in made for made in inputs)]
            if not fresh or not (state.started or self._start(state)):
                continue
            state.checked |= set(fresh)
            for video in fresh:
                if state.job.is_done(video):
                    state.done.add(video)
                else:
                    state.ready.append(video)
            self._tell(state, EventKind.READY, done=len(state.done), total=len(self._videos))

    def _start(self, state: _State) -> bool:
        try:
            if why := state.job.start(lambda text: self._tell(state, EventKind.NOTE, error=text)):
                self._tell(state, EventKind.NOTE, error=f"recomputing because {why}")
        except (FusionCoreError, MaskInterchangeError) as error:
            self._give_up(state, str(error))
            return False
        state.started = True
        return True

    def _next(self, last: _State | None) -> _State | None:
        """The job for a slot that did `last` last."""
        if last is not None and last.ready:
            return last
        waiting = [state for state in self._states if state.ready]
        return max(waiting, key=lambda state: len(state.ready) / (state.workers + 1), default=None)

    def _task(self, state: _State) -> Task | None:
        if state.task is None:
            try:
                state.task = state.job.task(lambda text: self._tell(state, EventKind.PREPARING, error=text))
            except FusionCoreError as error:
                self._give_up(state, str(error))
        return state.task

    def _progress_of(self, state: _State, video: str) -> ProgressCallback:
        return lambda done, total: self._tell(state, EventKind.PROGRESS, video=video, done=done, total=total)

    def _settle(self, state: _State, video: str, outcome: Outcome) -> None:
        """Record what became of a video."""
        match outcome.verdict:
            case Verdict.DONE if fault := state.job.fault(video):
                self._fail(state, video, fault)
            case Verdict.DONE:
                state.done.add(video)
                state.computed += 1
                self._tell(state, EventKind.DONE, video=video, seconds=outcome.seconds)
            case Verdict.FAILED:
                self._fail(state, video, outcome.error)
            case Verdict.FATAL:
                self._fail(state, video, outcome.error)
                self._give_up(state, outcome.error)
            case Verdict.LOST:
                state.lost[video] = state.lost.get(video, 0) + 1
                if state.lost_in_a_row >= LOST_IN_A_ROW:
                    self._fail(state, video, outcome.error)
                    self._give_up(state, f"given up after {LOST_IN_A_ROW} workers were lost: {outcome.error}")
                elif state.lost[video] >= ATTEMPTS:
                    self._fail(state, video, outcome.error)
                else:
                    state.ready.insert(0, video)
                    self._tell(state, EventKind.RETRIED, video=video, error=outcome.error)

    def _fail(self, state: _State, video: str, error: str) -> None:
        if state.fatal:
            return
        state.failed[video] = error
        failure = Failure(job=state.job.name, video=video, error=error, command=state.job.command(video))
        self.failures.append(failure)
        self._tell(state, EventKind.FAILED, video=video, error=error)

    def _give_up(self, state: _State, error: str) -> None:
        """Do no more of this job."""
        if state.fatal is None:
            state.fatal = error
            state.ready.clear()
            self._tell(state, EventKind.GIVEN_UP, error=error)

    def _tell(self, state: _State, kind: EventKind, **details: Any) -> None:
        """Report an event of a job; `details` are the other fields of `Event`."""
        self._listener(Event(kind=kind, job=state.job.name, runs=state.job.runs, **details))
