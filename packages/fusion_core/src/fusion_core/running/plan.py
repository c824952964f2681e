"""What a recipe would do now: its jobs, what is done, what is missing, and about how long that takes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mask_interchange import DatasetError, MaskInterchangeError, MaskRun

from fusion_core.errors import FusionCoreError, ProgramError, RecipeError
from fusion_core.recipe.nodes import ExistingRun, Node
from fusion_core.recipe.weights import published_needs
from fusion_core.running.context import RunContext
from fusion_core.running.environments import find_program
from fusion_core.running.jobs import Job, ProgramJob, make_jobs
from fusion_core.running.provenance import Speed

__all__ = ["NodePlan", "Plan", "make_plan"]


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """How far the run of a node is.

    Attributes:
        node: of the recipe.
        done: videos that need not be made.
        missing: videos to make.
        frames: of the missing videos.
        seconds: that the missing videos will take with one worker; None if that is not known.
        note: why the run must be made again, or cannot be resumed.
    """

    node: Node
    done: tuple[str, ...]
    missing: tuple[str, ...]
    frames: int
    seconds: float | None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe would do now. Whatever shows it or carries it out uses these jobs.

    Attributes:
        context: what the recipe is carried out on.
        videos: those with something to look for: how many frames they have, 0 if that cannot be read.
        existing: videos of the runs that no job makes, by run.
        jobs: in an order in which they can be done.
        nodes: in an order in which they can be made.
        models_without_weights: those that have work to do and no weights for it.
    """

    context: RunContext
    videos: Mapping[str, int]
    existing: Mapping[str, set[str]]
    jobs: tuple[Job, ...]
    nodes: tuple[NodePlan, ...]
    models_without_weights: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Videos to make, over all runs."""
        return sum(len(node.missing) for node in self.nodes)

    @property
    def seconds(self) -> float | None:
        """That the missing videos will take with one worker; None if a part of that is not known."""
        return total_seconds(self.nodes)

    @property
    def lacks_weights(self) -> str | None:
        """Which models have no weights, and how they get them, in words; None if all have what they need."""
        models = self.models_without_weights
        if not models:
            return None
        options = " ".join(f"--checkpoint {name}=PATH" for name in models)
        needs = [published_needs(model) for model in self.context.recipe.models if model.name in models]
        names = dict.fromkeys(name for one in needs if one for name in one.weights.values())
        fetch = (
            f"`uv run fusion-core weights fetch {' '.join(names)}` gets published ones or says where; or "
            if names
            else ""
        )
        files = ", ".join(f"{name}.*" for name in models)
        return (
            f"no weights for {', '.join(models)}: {fetch}give {options}, a folder of {files} with --checkpoints, or"
            " --weights random:0 to try things out"
        )

    @property
    def incomplete(self) -> dict[str, str]:
        """Existing runs that lack videos, and what they lack, in words."""
        found = ((name, missing_videos(there, self.videos)) for name, there in self.existing.items())
        return {name: why for name, why in found if why is not None}


def total_seconds(nodes: Iterable[NodePlan]) -> float | None:
    """That some nodes will take with one worker; None if a part of that is not known."""
    parts = [node.seconds for node in nodes]
    return None if None in parts else sum(part for part in parts if part is not None)


def make_plan(context: RunContext) -> Plan:
    """Look at the finished videos; changes nothing. Reads frames, masks and weights, since hashes identify them.

    Raises:
        RecipeError: no video has an expression.
        RunError: an existing run of the recipe is not there.
    """
    videos = _videos(context)
    existing = _existing(context)
    jobs = make_jobs(context)
    speeds = context.provenance.speeds()
    made = dict(existing)
    nodes = {
        name: NodePlan(
            node=context.recipe.node(name),
            done=tuple(video for video in videos if video in there),
            missing=(),
            frames=0,
            seconds=0.0,
            note=missing_videos(there, videos),
        )
        for name, there in existing.items()
    }
    without_weights: list[str] = []
    for job in jobs:
        done, note = _done(job, videos, made)
        missing = tuple(video for video in videos if video not in done)
        if missing and isinstance(job, ProgramJob) and not job.has_weights:
            without_weights.append(job.model.name)
        frames = sum(videos[video] for video in missing)
        seconds = _seconds(frames, speeds.get(job.loads)) if missing else 0.0
        for run in job.runs:
            made[run] = done
            nodes[run] = NodePlan(
                node=context.recipe.node(run),
                done=tuple(video for video in videos if video in done),
                missing=missing,
                frames=frames,
                seconds=seconds,
                note=_without_program(job) or note,
            )
    in_order = tuple(nodes[node.name] for node in context.recipe.nodes)
    return Plan(
        context=context,
        videos=videos,
        existing=existing,
        jobs=jobs,
        nodes=in_order,
        models_without_weights=tuple(dict.fromkeys(without_weights)),
    )


def missing_videos(there: Collection[str], videos: Iterable[str]) -> str | None:
    """Which videos an existing run does not have, in words; None if it has all."""
    absent = [video for video in videos if video not in there]
    if not absent:
        return None
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return f"the run has no masks of {', '.join(absent[:3])}{more}, and nothing here can make them"


def _videos(context: RunContext) -> dict[str, int]:
    """Videos with something to look for, and how many frames they have; 0 if that cannot be read."""
    found: dict[str, int] = {}
    for name in context.dataset.videos:
        try:
            video = context.dataset.videos[name]
            if video.expressions:
                found[name] = len(video)
        except DatasetError:
            found[name] = 0  # the programs will say what is wrong with it
    if not found:
        raise RecipeError(f"{context.dataset.name}: no video has an expression, so there is nothing to do")
    return found


def _existing(context: RunContext) -> dict[str, set[str]]:
    nodes = [node for node in context.recipe.nodes if isinstance(node, ExistingRun)]
    return {node.name: set(MaskRun.open(node.path).videos()) for node in nodes}


def _done(job: Job, videos: Iterable[str], made: Mapping[str, set[str]]) -> tuple[set[str], str | None]:
    """Videos that a job need not do, and a note about its runs."""
    if not all((job.context.run(name) / "run.json").is_file() for name in job.inputs):
        return set(), None
    try:
        if why := job.outdated():
            return set(), f"recomputing because {why}"
        ready = [video for video in videos if all(video in made[name] for name in job.inputs)]
        return {video for video in ready if job.is_done(video)}, None
    except (FusionCoreError, MaskInterchangeError) as error:
        return set(), str(error)


def _seconds(frames: int, speed: Speed | None) -> float | None:
    return frames * speed.seconds / speed.frames if speed and speed.frames else None


def _without_program(job: Job) -> str | None:
    """Why a job has no program to start; None if it has one."""
    if isinstance(job, ProgramJob):
        try:
            find_program(job.model.program)
        except ProgramError as error:
            return str(error)
    return None
