"""The recipes that docs/recipe.md shows can be carried out."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_core.recipe.nodes import ExistingRun, Pairing, Vote
from fusion_core.recipe.toml import read_recipe
from mask_interchange import MaskRun

DOCS = Path(__file__).parents[4] / "docs" / "recipe.md"


WHOLE, CHOICES = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
ABOVE_CHOICES = """
result = "final"
model.aot.program = "aot-propagate"
model.any.program = "any-infer"
predict.soc.model = "any"
predict.mutr.model = "any"
predict.referformer.model = "any"
propagate.mutr_aot = { model = "aot", source = "mutr" }
propagate.referformer_aot = { model = "aot", source = "referformer" }
"""


def read(text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def played(recipe, stage):
    """A recipe whose programs are played by one that does as it is told."""
    acting = stage.recipe().models[0].program
    models = (
        replace(model, program=acting, options={}, checkpoint=None, weights="random:0") for model in recipe.models
    )
    return replace(recipe, models=tuple(models))


@pytest.fixture
def shown(tmp_path):
    return read(WHOLE, tmp_path)


def test_it_says_what_the_text_says(shown, tmp_path):
    assert (shown.name, shown.result) == ("mine", "voted")
    assert shown.node("older") == ExistingRun(name="older", path=tmp_path / "runs" / "older")
    assert shown.node("both") == Vote(name="both", members=("soc", "theirs"), threshold=2, out_of=4)
    assert shown.node("voted") == Vote(
        name="voted", members=("both_aot", "theirs", "older"), threshold=2, out_of=3, pairing=Pairing.NONE
    )
    assert {model.name: model.memory for model in shown.models} == {"soc": 6.0, "theirs": 2.5, "aot": 6.0}


def test_it_can_be_carried_out(shown, stage):
    stage.carry_out(stage.alone())
    (stage.runs / "a").rename(stage.runs / "older")
    nodes = tuple(
        replace(node, path=stage.runs / "older") if isinstance(node, ExistingRun) else node for node in shown.nodes
    )
    summary, _ = stage.carry_out(replace(played(shown, stage), nodes=nodes))
    assert summary.complete, summary


def test_choose_gate_and_rescore_can_be_carried_out(tmp_path, stage):
    recipe = played(read(ABOVE_CHOICES + CHOICES, tmp_path), stage)
    summary, _ = stage.carry_out(recipe)
    assert summary.complete, summary
    runs = {node.name: MaskRun.open(stage.runs / node.name) for node in recipe.nodes}
    assert all(run.videos() == runs["soc"].videos() for run in runs.values())
    assert runs["final"].manifest.settings["threshold"] == 0.3
    assert [one["name"] for one in runs["best"].manifest.settings["inputs"]] == [
        "soc_agreed_aot",
        "mutr_aot",
        "referformer_aot",
    ]
