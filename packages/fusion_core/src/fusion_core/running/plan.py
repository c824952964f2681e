"""What a recipe would do now: its graph, what is done, what is missing, and about how long that takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mask_interchange import DatasetError, MaskInterchangeError, MaskRun

from fusion_core.errors import FusionCoreError, ProgramError, RecipeError
from fusion_core.recipe.graph import ExistingRun, Node
from fusion_core.running.context import Place
from fusion_core.running.environments import find_program
from fusion_core.running.jobs import Job, ProgramJob, jobs_of


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """How far a node's run is.

    Attributes:
        node: of the recipe.
        done: videos that need not be made.
        missing: videos to make.
        frames: of the missing videos.
        seconds: that the missing videos will take with one worker, None where that is not known.
        note: why the run must be made anew, or cannot be continued.
    """

    node: Node
    done: tuple[str, ...]
    missing: tuple[str, ...]
    frames: int
    seconds: float | None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe would do now.

    Attributes:
        nodes: in an order in which they can be made.
        videos: of the data set, those with something to look for.
    """

    nodes: tuple[NodePlan, ...]
    videos: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Videos to make, over all runs."""
        return sum(len(node.missing) for node in self.nodes)

    @property
    def seconds(self) -> float | None:
        """That the missing work will take with one worker, None if a part of that is not known."""
        parts = [node.seconds for node in self.nodes]
        return None if None in parts else sum(part for part in parts if part is not None)


def videos_of(place: Place) -> dict[str, int]:
    """Videos with something to look for, and how many frames they have (0 where that cannot be told)."""
    found: dict[str, int] = {}
    for name in place.dataset.videos:
        try:
            video = place.dataset.videos[name]
            if video.expressions:
                found[name] = len(video)
        except DatasetError:
            found[name] = 0  # the programs will say what is wrong with it
    if not found:
        raise RecipeError(f"{place.dataset.name}: no video has an expression, so there is nothing to do")
    return found


def make_plan(place: Place) -> Plan:
    """Look at what is there; changes nothing. Frames, masks and weights are read, as they are known by their hashes."""
    videos = videos_of(place)
    looks: dict[str, NodePlan] = {}
    made = given_runs(place)
    notes = lacking(made, videos)
    for name, there in made.items():
        done = tuple(video for video in videos if video in there)
        node = place.recipe.node(name)
        looks[name] = NodePlan(node=node, done=done, missing=(), frames=0, seconds=0.0, note=notes.get(name))
    speeds = place.ledger.speeds()
    for job in jobs_of(place):
        done, note = _done(job, list(videos), made)
        note = _without_program(job) or note
        missing = tuple(video for video in videos if video not in done)
        frames = sum(videos[video] for video in missing)
        speed = speeds.get(job.loads)
        seconds = frames * speed.seconds / speed.frames if speed and speed.frames else (None if missing else 0.0)
        for run in job.runs:
            made[run] = done
            looks[run] = NodePlan(
                node=place.recipe.node(run),
                done=tuple(video for video in videos if video in done),
                missing=missing,
                frames=frames,
                seconds=seconds,
                note=note,
            )
    return Plan(nodes=tuple(looks[node.name] for node in place.recipe.nodes), videos=tuple(videos))


def given_runs(place: Place) -> dict[str, set[str]]:
    """Videos of the recipe's existing runs.

    Raises:
        RunError: there is no run.
    """
    nodes = [node for node in place.recipe.nodes if isinstance(node, ExistingRun)]
    return {node.name: set(MaskRun.open(node.path).videos()) for node in nodes}


def lacking(given: Mapping[str, set[str]], videos: Collection[str]) -> dict[str, str]:
    """What existing runs do not have of some videos, in words; empty if they have all."""
    found = {}
    for name, there in given.items():
        absent = [video for video in videos if video not in there]
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            found[name] = f"the run has no masks of {', '.join(absent[:3])}{more}, which nothing here can make"
    return found


def without_weights(place: Place, plan: Plan) -> list[str]:
    """Models that have work to do and no weights to do it with."""
    missing = {look.node.name for look in plan.nodes if look.missing}
    jobs = (job for job in jobs_of(place) if isinstance(job, ProgramJob) and missing & set(job.runs))
    return list(dict.fromkeys(job.model.name for job in jobs if not job.has_weights))


def _without_program(job: Job) -> str | None:
    """Why a job has no program to start, None if it has one."""
    if isinstance(job, ProgramJob):
        try:
            find_program(job.model.program)
        except ProgramError as error:
            return str(error)
    return None


def _done(job: Job, videos: Sequence[str], made: Mapping[str, set[str]]) -> tuple[set[str], str | None]:
    """Videos that a job need not do, and what there is to say of its runs."""
    if not all((job.place.run(name) / "run.json").is_file() for name in job.inputs):
        return set(), None
    try:
        if why := job.outdated():
            return set(), f"made anew: {why}"
        ready = [video for video in videos if all(video in made[name] for name in job.inputs)]
        return {video for video in ready if job.is_done(video)}, None
    except (FusionCoreError, MaskInterchangeError) as error:
        return set(), str(error)
