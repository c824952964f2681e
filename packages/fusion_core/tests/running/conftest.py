"""A tiny data set, and recipes whose programs only act."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_core.recipe.graph import AblationStep, Model, Predict, Propagate, Recipe, Vote
from fusion_core.recipe.toml import recipe_as_toml
from fusion_core.running.context import DatasetSource
from fusion_core.running.runner import prepare, run_recipe
from PIL import Image

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

    def place(self, recipe=None):
        return prepare(recipe or self.recipe(), DatasetSource(root=self.root), self.runs)

    def carry_out(self, recipe=None, **options):
        """Returns the summary, and the events as tuples."""
        events = []
        summary = run_recipe(self.place(recipe), listener=events.append, **options)
        return summary, [(event.event, event.job, event.video) for event in events]

    def computed(self):
        """How often programs computed what, since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return Counter(line for line in lines if not line.startswith("started"))

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
