"""Carries a recipe out: whatever is missing is made, what is there is kept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import Recipe
from fusion_core.running.context import Place, Source
from fusion_core.running.executors.local import LocalExecutor
from fusion_core.running.executors.slot import Executor
from fusion_core.running.jobs import jobs_of
from fusion_core.running.plan import Plan, given_runs, lacking, make_plan, videos_of, without_weights
from fusion_core.running.provenance import Ledger, Speed
from fusion_core.running.scheduler import Dealer, Event, Failure, Listener


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of carrying out a recipe.

    Attributes:
        place: the recipe, what it was carried out on, and where the runs are.
        failures: videos that a job could not do.
        given_up: jobs that were given up, and existing runs that lack videos, and why.
        blocked: by job, videos that could not be begun because something before them failed, or the job was given up.
        seconds: that it took.
    """

    place: Place
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
        return self.place.run(self.place.recipe.result)


def prepare(recipe: Recipe, source: Source, runs: Path, device: str = "auto") -> Place:
    """Open what a recipe is to be carried out on.

    Args:
        recipe: with its weights (`weights.with_weights`).
        source: a data set, or one video with sentences.
        runs: folder in which every node gets a run of its name.
        device: the programs' option `--device`.

    Raises:
        DatasetError: the source cannot be opened.
    """
    return Place(recipe=recipe, source=source, dataset=source.open(), ledger=Ledger(runs), device=device)


def default_executor(place: Place, workers: int | None = None) -> LocalExecutor:
    """Workers on this machine, as many as its GPUs and memory allow."""
    memory = max((model.memory for model in place.recipe.models), default=0.0)
    return LocalExecutor(workers, place.device, memory)


def run_recipe(
    place: Place, executor: Executor | None = None, listener: Listener = lambda event: None, plan: Plan | None = None
) -> Summary:
    """Make every run of a recipe, video by video; may be stopped at any moment and called again.

    Args:
        place: from `prepare`.
        executor: where the workers run; by default on this machine.
        listener: is told what happens, from several threads.
        plan: from `make_plan`, if that was called already.

    Raises:
        RecipeError: a model that has work to do has no weights.
        RunError: one of the recipe's existing runs is not there.
        FusionCoreError: another process works on these runs.
    """
    began = time.monotonic()
    if missing := without_weights(place, plan or make_plan(place)):
        options = " ".join(f"--checkpoint {name}=PATH" for name in missing)
        raise RecipeError(
            f"no weights for {', '.join(missing)}: give {options}, a folder of them with --checkpoints, or"
            " --weights random:0 to try things out"
        )
    with place.ledger.working():
        frames = videos_of(place)
        jobs = {job.name: job for job in jobs_of(place)}
        speeds: dict[str, Speed] = {}
        given_up: dict[str, str] = {}

        def listen(event: Event) -> None:
            if event.event == "done" and event.video is not None and event.seconds is not None:
                job = jobs[event.job]
                speed = Speed(frames=frames[event.video] * len(job.runs), seconds=event.seconds)
                speeds[job.loads] = speeds.get(job.loads, Speed()) + speed
            if event.event == "given up":
                given_up[event.job] = event.error or ""
            listener(event)

        given = given_runs(place)
        for name, error in lacking(given, frames).items():
            listen(Event(event="given up", job=name, error=error))
        dealer = Dealer(list(jobs.values()), list(frames), given, listen)
        try:
            with executor or default_executor(place) as slots:
                dealer.run(slots)
        finally:
            place.ledger.add_speeds(speeds)
    return Summary(
        place=place,
        failures=tuple(dealer.failures),
        given_up=given_up,
        blocked={name: tuple(videos) for name, videos in dealer.blocked.items()},
        seconds=time.monotonic() - began,
    )
