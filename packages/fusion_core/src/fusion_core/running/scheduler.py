"""Deals videos to workers: whatever is ready goes to whoever is free, until nothing is left.

A video is ready for a job as soon as all runs that the job reads have it. A free slot goes on with the job that it has
loaded; else it takes the one with the most ready videos for each worker that is at it already.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from mask_interchange import MaskInterchangeError

from fusion_core.errors import FusionCoreError
from fusion_core.running.executors.slot import Outcome, SlotHandle, Verdict
from fusion_core.running.jobs import Job
from fusion_core.running.worker import Task

ATTEMPTS = 2  # workers that may be lost over one video
LOST_IN_A_ROW = 4  # workers that may be lost before a job has done any video at all


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        event: `ready` (a job's runs are open; `total` videos, `done` of them were there), `started`, `progress` (`done`
            of `total` units of a video), `done`, `failed`, `retried`, `given up` (a job),
            `preparing` (a job's program is being installed), or `note`.
        job: its name.
        video: its id.
        done: see above.
        total: see above.
        seconds: that a video took.
        error: or what else there is to say, in words.
    """

    event: str
    job: str = ""
    video: str | None = None
    done: int | None = None
    total: int | None = None
    seconds: float | None = None
    error: str | None = None


Listener = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video that a job could not do.

    Attributes:
        job: its name.
        video: its id.
        error: why, complete.
        command: to look at it.
    """

    job: str
    video: str
    error: str
    command: Sequence[str]


@dataclass(kw_only=True, eq=False)
class _State:
    """How far a job is."""

    job: Job
    started: bool = False
    task: Task | None = None
    checked: set[str] = field(default_factory=set)
    ready: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    at_work: int = 0
    computed: int = 0
    hopeless: str | None = None

    @property
    def lost_in_a_row(self) -> int:
        """Workers lost before any video was done."""
        return 0 if self.computed else sum(self.lost.values())


class Dealer:
    """Deals the videos of some jobs.

    Attributes:
        failures: videos that could not be done, in the order in which that happened.
        blocked: by job, videos that could not be begun because something before it failed.

    Args:
        jobs: in an order in which they can be done.
        videos: all of them, in the order in which they are dealt.
        given: videos of runs that no job makes.
        listener: is told what happens, in the thread that calls `run` or in a slot's.
    """

    def __init__(
        self, jobs: Sequence[Job], videos: Sequence[str], given: Mapping[str, set[str]], listener: Listener
    ) -> None:
        self._states = [_State(job=job) for job in jobs]
        self._videos = videos
        self._made = {run: set(there) for run, there in given.items()}
        self._made |= {run: state.done for state in self._states for run in state.job.runs}
        self._tell = listener
        self.failures: list[Failure] = []

    @property
    def blocked(self) -> dict[str, list[str]]:
        """By job, videos that could not be begun because something before it failed."""
        left = {
            state.job.name: [video for video in self._videos if video not in state.done and video not in state.failed]
            for state in self._states
        }
        return {name: videos for name, videos in left.items() if videos}

    def run(self, slots: Sequence[SlotHandle]) -> None:
        """Deal until nothing is left that can be done."""
        idle: dict[SlotHandle, _State | None] = {}
        away: dict[Future[None], SlotHandle] = {}
        busy: dict[Future[Outcome], tuple[SlotHandle, _State, str]] = {}

        def take(slot: SlotHandle, before: _State | None) -> None:
            if (ready := slot.ready()) is None:
                idle[slot] = before
            else:
                away[ready] = slot

        for slot in slots:
            take(slot, None)
        while True:
            self._look()
            for slot, before in list(idle.items()):
                state = self._next(before)
                if state is None or (task := self._task(state)) is None:
                    continue
                del idle[slot]
                video = state.ready.pop(0)
                state.at_work += 1
                state.job.begin(video)
                self._tell(Event(event="started", job=state.job.name, video=video))
                busy[slot.submit(task, video, self._reporter(state, video))] = (slot, state, video)
            if not busy and not any(state.ready for state in self._states):
                return
            awaited: list[Future[Any]] = [*busy, *away]
            finished, _ = wait(awaited, return_when=FIRST_COMPLETED)
            for future in finished & busy.keys():
                slot, state, video = busy.pop(future)
                state.at_work -= 1
                outcome = future.result()
                if outcome.verdict is Verdict.LOST:
                    take(slot, state)
                else:
                    idle[slot] = state
                self._settle(state, video, outcome)
            for ready in finished & away.keys():
                idle[away.pop(ready)] = None

    def _look(self) -> None:
        """Find videos that became ready, and among them those that are done already."""
        for state in self._states:
            if state.hopeless:
                continue
            inputs = [self._made[run] for run in state.job.inputs]
            fresh = [v for v in self._videos if v not in state.checked and all(v in made for made in inputs)]
            if not fresh or not (state.started or self._start(state)):
                continue
            state.checked |= set(fresh)
            for video in fresh:
                if state.job.is_done(video):
                    state.job.keep(video)
                    state.done.add(video)
                else:
                    state.ready.append(video)
            self._tell(Event(event="ready", job=state.job.name, done=len(state.done), total=len(self._videos)))

    def _start(self, state: _State) -> bool:
        try:
            if why := state.job.start():
                self._tell(Event(event="note", job=state.job.name, error=f"made anew: {why}"))
        except (FusionCoreError, MaskInterchangeError) as error:
            self._give_up(state, str(error))
            return False
        state.started = True
        return True

    def _next(self, before: _State | None) -> _State | None:
        """The job for a slot that did `before` last."""
        if before is not None and before.ready:
            return before
        free = [state for state in self._states if state.ready]
        return max(free, key=lambda state: len(state.ready) / (state.at_work + 1), default=None)

    def _task(self, state: _State) -> Task | None:
        def tell(text: str) -> None:
            self._tell(Event(event="preparing", job=state.job.name, error=text))

        if state.task is None:
            try:
                state.task = state.job.task(tell)
            except FusionCoreError as error:
                self._give_up(state, str(error))
        return state.task

    def _reporter(self, state: _State, video: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            self._tell(Event(event="progress", job=state.job.name, video=video, done=done, total=total))

        return report

    def _settle(self, state: _State, video: str, outcome: Outcome) -> None:
        """Take note of what became of a video."""
        match outcome.verdict:
            case Verdict.DONE if not state.job.is_done(video):
                self._fail(state, video, "the program says that it is done, but its masks are not there")
            case Verdict.DONE:
                state.done.add(video)
                state.computed += 1
                self._tell(Event(event="done", job=state.job.name, video=video, seconds=outcome.seconds))
            case Verdict.FAILED:
                self._fail(state, video, outcome.error)
            case Verdict.HOPELESS:
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
                    self._tell(Event(event="retried", job=state.job.name, video=video, error=outcome.error))

    def _fail(self, state: _State, video: str, error: str) -> None:
        if state.hopeless:
            return
        state.failed[video] = error
        failure = Failure(job=state.job.name, video=video, error=error, command=state.job.command(video))
        self.failures.append(failure)
        self._tell(Event(event="failed", job=state.job.name, video=video, error=error))

    def _give_up(self, state: _State, error: str) -> None:
        """No more of this job."""
        if state.hopeless is None:
            state.hopeless = error
            state.ready.clear()
            self._tell(Event(event="given up", job=state.job.name, error=error))
