"""Runs a plan: computes what is missing, keeps what is finished."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusion_core.errors import RecipeError
from fusion_core.running.context import RunContext
from fusion_core.running.events import Event, EventKind, Listener
from fusion_core.running.executors.local import LocalExecutor
from fusion_core.running.executors.slot import Executor
from fusion_core.running.plan import Plan
from fusion_core.running.provenance import Speed
from fusion_core.running.scheduler import Failure, Scheduler

__all__ = ["Summary", "run_plan"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a plan.

    Attributes:
        context: what the recipe was carried out on, and where the runs are.
        failures: videos that a job could not do.
        given_up: jobs that were given up, and existing runs that lack videos, with the reason.
        blocked: by job, videos that were not begun because something before them failed, or the job was given up.
        seconds: that it took.
    """

    context: RunContext
    failures: tuple[Failure, ...]
    given_up: Mapping[str, str]
    blocked: Mapping[str, tuple[str, ...]]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every run has every video."""
        return not (self.failures or self.given_up or self.blocked)

    @property
    def result(self) -> Path:
        """Folder of the run that the recipe is for."""
        return self.context.run(self.context.recipe.result)


def run_plan(plan: Plan, executor: Executor | None = None, listener: Listener = lambda event: None) -> Summary:
    """Make every run of a recipe, video by video. May be stopped at any moment; a new plan continues.

    Args:
        plan: from `make_plan`.
        executor: yields worker slots; by default on this machine, as many as its GPUs and memory allow.
        listener: called for every event, from several threads.

    Raises:
        RecipeError: a model that has work to do has no weights.
        FusionCoreError: another process works on these runs.
    """
    began = time.monotonic()
    if plan.lacks_weights:
        raise RecipeError(plan.lacks_weights)
    meter = _Meter(plan, listener)
    for run, why in plan.incomplete.items():
        meter(Event(kind=EventKind.GIVEN_UP, job=run, runs=(run,), error=why))
    scheduler = Scheduler(plan.jobs, list(plan.videos), plan.existing, meter)
    with plan.context.provenance.working():
        plan.context.provenance.note_source(plan.context.source.described())
        try:
            with executor or LocalExecutor(device=plan.context.device, memory=plan.context.memory) as slots:
                scheduler.run(slots)
        finally:
            plan.context.provenance.add_speeds(meter.speeds)
    return Summary(
        context=plan.context,
        failures=tuple(scheduler.failures),
        given_up=meter.given_up,
        blocked={name: tuple(videos) for name, videos in scheduler.blocked.items()},
        seconds=time.monotonic() - began,
    )


class _Meter:
    """Listener that passes events on and keeps what the summary needs.

    Attributes:
        speeds: how long work took, by what was loaded for it.
        given_up: jobs that were given up, with the reason.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self._videos = plan.videos
        self._loads = {job.name: job.loads for job in plan.jobs}
        self._listener = listener
        self.speeds: dict[str, Speed] = {}
        self.given_up: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.DONE and event.video is not None and event.seconds is not None:
            loads = self._loads[event.job]
            speed = Speed(frames=self._videos[event.video] * len(event.runs), seconds=event.seconds)
            self.speeds[loads] = self.speeds.get(loads, Speed()) + speed
        if event.kind is EventKind.GIVEN_UP:
            self.given_up[event.job] = event.error or ""
        self._listener(event)
