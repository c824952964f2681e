"""A drawn data set, and the runs of a small recipe on it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.recipe.graph import Model, Predict, Propagate, Recipe, Vote
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from rvos_evaluation.annotations import open_annotations
from rvos_synthetic import draw_video

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
class Drawn:
    """Two drawn videos and all runs of `RECIPE` but one."""

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


def make(root: Path, *, videos: int = 2, length: int = 6, size: tuple[int, int] = (90, 160)) -> Drawn:
    """The first video has an odd number of expressions, the first of which is meant to break a page."""
    drawn = Drawn(recipe=RECIPE, root=root)
    draw_dataset(drawn.dataset, videos=videos, length=length, size=size)
    meta_file = drawn.dataset / "meta_expressions.json"
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
                "runs": drawn.runs,
                "out": drawn.runs / node.name,
            }
            arguments = [f"--{name}={value}" for name, value in options.items()]
            assert not app(["fuse", *arguments], standalone_mode=False)
        elif node.name != NOT_THERE:
            spoiled_run(drawn, node.name, seed=number)
    return drawn


def draw_dataset(root: Path, *, videos: int, length: int, size: tuple[int, int]) -> None:
    """Videos of `rvos_synthetic` in the flat layout, with frames that lose something as JPEG files do."""
    meta = {}
    for index in range(videos):
        drawn, name = draw_video("test", index, size=size, frames=length), f"drawn{index:02d}"
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / name).mkdir(parents=True)
        for frame, pixels, labels in zip(drawn.frame_names, drawn.frames, drawn.labels, strict=True):
            Image.fromarray(pixels).save(root / "JPEGImages" / name / f"{frame}.jpg", quality=92)
            palette = Image.fromarray(labels)
            palette.putpalette([part for label in range(256) for part in (label, 40 * label % 256, 0)])
            palette.save(root / "Annotations" / name / f"{frame}.png")
        expressions = [{"exp": one.text, "obj_id": str(one.label)} for one in drawn.expressions]
        meta[name] = {"expressions": {str(k): e for k, e in enumerate(expressions)}, "frames": drawn.frame_names}
    (root / "meta_expressions.json").write_text(json.dumps({"videos": meta}))


def spoil(labels: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """True masks with mistakes: off by some pixels, on one frame of another object, on one frame lost."""
    masks = np.roll(labels == label, rng.integers(-3, 4, size=2), axis=(1, 2))
    confused, lost = rng.choice(len(masks), size=2, replace=False)
    masks[confused] = (labels[confused] != label) & (labels[confused] > 0)
    masks[lost] = False
    return masks


def spoiled_run(drawn: Drawn, name: str, seed: int) -> None:
    dataset = open_dataset(drawn.dataset)
    run = MaskRun.create(
        drawn.runs / name, RunManifest(producer="drawn", producer_version="1", dataset=dataset.identity)
    )
    for number, (video, annotation) in enumerate(open_annotations(drawn.annotations).items()):
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
def drawn(tmp_path_factory) -> Drawn:
    return make(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def fresh(tmp_path) -> Drawn:
    """As `drawn`, to be damaged."""
    return make(tmp_path)
