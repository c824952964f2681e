"""The recipe that docs/recipe.md shows is one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_core.recipe.graph import ExistingRun, Pairing, Vote
from fusion_core.recipe.toml import read_recipe

DOCS = Path(__file__).parents[4] / "docs" / "recipe.md"


@pytest.fixture
def shown(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def test_it_says_what_the_text_says(shown, tmp_path):
    assert (shown.name, shown.result) == ("mine", "voted")
    assert shown.node("older") == ExistingRun(name="older", path=tmp_path / "runs" / "older")
    assert shown.node("both") == Vote(name="both", members=("soc", "theirs"), threshold=2, out_of=4)
    assert shown.node("voted") == Vote(
        name="voted", members=("both_aot", "theirs", "older"), threshold=2, out_of=3, pairing=Pairing.NONE
    )
    assert {model.name: model.memory for model in shown.models} == {"soc": 6.0, "theirs": 2.5, "aot": 6.0}


def test_it_can_be_carried_out(shown, stage):
    acting = stage.recipe().models[0].program
    stage.carry_out(stage.alone())
    (stage.runs / "a").rename(stage.runs / "older")
    models = tuple(
        replace(model, program=acting, options={}, checkpoint=None, weights="random:0") for model in shown.models
    )
    nodes = tuple(
        replace(node, path=stage.runs / "older") if isinstance(node, ExistingRun) else node for node in shown.nodes
    )
    summary, _ = stage.carry_out(replace(shown, models=models, nodes=nodes))
    assert summary.complete, summary
