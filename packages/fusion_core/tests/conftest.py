"""Two small worlds: a synthetic data set with the runs of a recipe, and a tiny one with programs that only act."""

import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.recipe.graph import AblationStep, Model, Recipe
from fusion_core.recipe.nodes import Predict, Propagate, Vote
from fusion_core.recipe.toml import recipe_as_toml
from fusion_core.running.context import DatasetSource, RunContext
from fusion_core.running.plan import make_plan
from fusion_core.running.runner import run_plan
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from rvos_evaluation.annotations import open_annotations
from rvos_synthetic import render_video

EVIL = "</script><script>document.title='broken'</script> \"quoted\" & 'single' <img src=x onerror=alert(1)>"

RECIPE = Recipe(
    name="small",
    result="final",
    models=(Model(name="any", program=("any-infer",)),),
    nodes=(
        *(Predict(name=name, model="any") for name in ("a", "b", "c")),
        Vote(name="first", members=("a", "b", "c"), threshold=3, out_of=6, leftover="first"),
        *(Propagate(name=f"{source}_aot", model="any", source=source) for source in ("first", "a")),
        Propagate(name="b_aot", model="any", source="b"),
        Vote(name="final", members=("first_aot", "a_aot", "b"), threshold=3, out_of=6, leftover=2),
    ),
)
NOT_THERE = "b_aot"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Two synthetic videos and all runs of `RECIPE` but one."""

    root: Path
    recipe: Recipe

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def annotations(self) -> Path:
        return self.dataset / "Annotations"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def evil(self) -> str:
        return EVIL


def make(root: Path, *, videos: int = 2, length: int = 6, size: tuple[int, int] = (90, 160)) -> World:
    """The first video has an odd number of expressions, the first of which is meant to break a page."""
    world = World(recipe=RECIPE, root=root)
    draw_dataset(world.dataset, videos=videos, length=length, size=size)
    meta_file = world.dataset / "meta_expressions.json"
    meta = json.loads(meta_file.read_text())
    expressions = next(iter(meta["videos"].values()))["expressions"]
    if len(expressions) % 2 == 0:
        expressions.popitem()
    expressions["0"]["exp"] = EVIL
    meta_file.write_text(json.dumps(meta))
    for number, node in enumerate(RECIPE.nodes):
        if isinstance(node, Vote):
            options = {
                "members": ",".join(node.members),
                "threshold": node.threshold,
                "leftover": node.leftover,
                "runs": world.runs,
                "out": world.runs / node.name,
            }
            arguments = [f"--{name}={value}" for name, value in options.items()]
            assert not app(["fuse", *arguments], standalone_mode=False)
        elif node.name != NOT_THERE:
            spoiled_run(world, node.name, seed=number)
    return world


def draw_dataset(root: Path, *, videos: int, length: int, size: tuple[int, int]) -> None:
    """Videos of `rvos_synthetic` in the flat layout, with frames that lose something as JPEG files do."""
    meta = {}
    for index in range(videos):
        world, name = render_video("test", index, size=size, frames=length), f"world{index:02d}"
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / name).mkdir(parents=True)
        for frame, pixels, labels in zip(world.frame_names, world.frames, world.labels, strict=True):
            Image.fromarray(pixels).save(root / "JPEGImages" / name / f"{frame}.jpg", quality=92)
            palette = Image.fromarray(labels)
            palette.putpalette([part for label in range(256) for part in (label, 40 * label % 256, 0)])
            palette.save(root / "Annotations" / name / f"{frame}.png")
        expressions = [{"exp": one.text, "obj_id": str(one.label)} for one in world.expressions]
        meta[name] = {"expressions": {str(k): e for k, e in enumerate(expressions)}, "frames": world.frame_names}
    (root / "meta_expressions.json").write_text(json.dumps({"videos": meta}))


def spoil(labels: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """True masks with mistakes: off by some pixels, on one frame of another object, on one frame lost."""
    masks = np.roll(labels == label, rng.integers(-3, 4, size=2), axis=(1, 2))
    confused, lost = rng.choice(len(masks), size=2, replace=False)
    masks[confused] = (labels[confused] != label) & (labels[confused] > 0)
    masks[lost] = False
    return masks


def spoiled_run(world: World, name: str, seed: int) -> None:
    dataset = open_dataset(world.dataset)
    run = MaskRun.create(
        world.runs / name, RunManifest(producer="synthetic", producer_version="1", dataset=dataset.identity)
    )
    for number, (video, annotation) in enumerate(open_annotations(world.annotations).items()):
        rng = np.random.default_rng([seed, number])
        labels = np.stack([frame.labels for frame in annotation.frames()])
        tracks = []
        for expression in dataset.videos[video].expressions:
            masks = spoil(labels, int(expression.group or 0), rng)
            scores = rng.uniform(size=len(masks)).astype(np.float32)
            tracks.append(MaskTrack.from_masks(expression, masks, scores=scores))
        names = annotation.frame_names()
        run.write(VideoMasks(video=video, size=labels.shape[1:], frame_names=names, tracks=tuple(tracks)))


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return make(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def fresh(tmp_path) -> World:
    """As `world`, to be damaged."""
    return make(tmp_path)


# --- recipes whose programs only act --------------------------------------------------------------------------------

ACTING = (sys.executable, str(Path(__file__).with_name("acting.py")))
VIDEOS = ("v1", "v2", "v3")


def write_video(root, video, seed):
    rng = np.random.default_rng(seed)
    folder = root / "JPEGImages" / video
    folder.mkdir(parents=True, exist_ok=True)
    for frame in ("00000", "00001"):
        Image.fromarray(rng.integers(0, 255, (8, 12, 3), np.uint8)).save(folder / f"{frame}.png")


class Stage:
    """A folder with a data set and runs, and a recipe to carry out there."""

    def __init__(self, folder):
        self.root = folder / "data"
        self.runs = folder / "runs"
        self.log = folder / "log.txt"
        described = {
            "frames": ["00000", "00001"],
            "expressions": {str(i): {"exp": f"thing {i}", "obj_id": "1"} for i in range(3)},
        }
        for seed, video in enumerate(VIDEOS):
            write_video(self.root, video, seed)
        (self.root / "meta_expressions.json").write_text(json.dumps({"videos": dict.fromkeys(VIDEOS, described)}))

    def recipe(self, a=(), b=(), p=(), **changes):
        """a, b -> early -> (a_p, early_p) -> late; the arguments are more words for the programs' command lines."""
        acting = (*ACTING, "--log", str(self.log))
        recipe = Recipe(
            name="acted",
            result="late",
            models=(
                Model(name="a", program=(*acting, *a), options={"seed": 1}, weights="random:0", memory=0.1),
                Model(name="b", program=(*acting, *b), options={"seed": 2}, weights="random:0", memory=0.1),
                Model(name="p", program=(*acting, *p), weights="random:0", memory=0.1),
            ),
            nodes=(
                Predict(name="a", model="a"),
                Predict(name="b", model="b"),
                Vote(name="early", members=("a", "b"), threshold=2, out_of=4, leftover="first"),
                Propagate(name="a_p", model="p", source="a"),
                Propagate(name="early_p", model="p", source="early"),
                Vote(name="late", members=("early_p", "a_p", "b"), threshold=3, out_of=6, leftover=2),
            ),
            ablation=(
                AblationStep(label="best", runs=("a", "b"), published={"a": 50.0}),
                AblationStep(label="+ all", runs=("late",)),
            ),
        )
        return replace(recipe, **changes)

    def alone(self, *words):
        """Only the run `a`; the arguments are more words for its program's command line."""
        recipe = self.recipe(a=words)
        return replace(recipe, nodes=(recipe.node("a"),), result="a", ablation=())

    def write_recipe(self, **words):
        """The recipe as a file, for the command line."""
        path = self.root.parent / "acted.toml"
        path.write_text(recipe_as_toml(self.recipe(**words)))
        return path

    def context(self, recipe=None):
        return RunContext.open(recipe or self.recipe(), DatasetSource(root=self.root), self.runs)

    def carry_out(self, recipe=None, **options):
        """Returns the summary, and the events as tuples."""
        events = []
        summary = run_plan(make_plan(self.context(recipe)), listener=events.append, **options)
        return summary, [(event.kind, event.job, event.video) for event in events]

    def redraw(self, video):
        """Other frames for a video."""
        write_video(self.root, video, seed=77)

    def computed(self):
        """How often programs computed what, since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return Counter(line for line in lines if not line.startswith("started"))

    def masks(self, run, video="v1", expression="0"):
        """Masks int [T, H, W] of an expression."""
        return MaskRun.open(self.runs / run).read(video).track(expression).stack().astype(int)

    def files(self):
        """Every file of every run."""
        found = (path for path in sorted(self.runs.rglob("*")) if path.is_file() and ".recipe" not in path.parts)
        return {str(path.relative_to(self.runs)): path.read_bytes() for path in found if path.name != ".lock"}


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Files of a whole run that nothing disturbed."""
    stage = Stage(tmp_path_factory.mktemp("undisturbed"))
    assert stage.carry_out()[0].complete
    return stage.files()
