"""The recipe of today's models, and which recipe is taken where none is named."""

import hashlib
from collections.abc import Iterable

import pytest
from fusion_core.cli import app
from fusion_core.errors import RecipeError
from fusion_core.recipe.modern import LEADER, modern
from fusion_core.recipe.named import best_recipe
from fusion_core.recipe.nodes import Predict, Propagate
from fusion_core.recipe.published import ICCV2023
from fusion_core.recipe.weights import needed_weights, with_weights
from program_kit.weights_folder import StoredFile, WeightsRecord, folder_of
from program_kit.weights_table import published
from typer.testing import CliRunner

CORE = ["grounding-dino-base", "sam2.1-base-plus", "grounding-dino-tiny", "cutie-base-mega"]


@pytest.fixture(autouse=True)
def weights_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))


def put(names: Iterable[str]) -> None:
    """Leave files in the user's folder as `uv run fusion-core weights add` does, with other content."""
    for name in names:
        weights, folder = published(name), folder_of(name)
        folder.mkdir(parents=True)
        kept = StoredFile(size=1, sha256=hashlib.sha256(b"x").hexdigest())
        for file in weights.files:
            (folder / file.name).write_bytes(b"x")
        loads = None if weights.is_folder else weights.files[0].name
        WeightsRecord(source="here", files={file.name: kept for file in weights.files}, loads=loads).write(folder)


def test_two_groundings_are_carried_twice_each_and_voted():
    recipe = modern()
    assert needed_weights(recipe) == CORE
    carried = {(node.source, node.model) for node in recipe.nodes if isinstance(node, Propagate)}
    assert carried == {(source, model) for source in (LEADER, "grounded_tiny") for model in ("sam2", "cutie")}


@pytest.mark.parametrize("more", [[], ["soc", "roberta-base"], ["soc", "mutr", "referformer", "roberta-base"]])
def test_a_vote_needs_more_than_half_and_is_never_a_tie(more):
    put(more)
    vote = modern().node("final")
    voters = len(vote.members)
    assert vote.members[0] == LEADER
    for votes in range(voters + 1):  # of one expression alone; a pool of several has the same share
        assert (votes >= vote.votes_needed(voters, leftover=False)) == (2 * votes > voters)
    of_leader = [member for member in vote.members if member.split("_")[0] == LEADER and "tiny" not in member]
    assert len(of_leader) == 3


def test_models_of_2023_take_part_if_their_weights_and_tokenizer_are_there():
    put(["soc", "uninext-vit-h", "bert-base-uncased"])
    predicted = [node.name for node in modern().nodes if isinstance(node, Predict)]
    assert predicted == [LEADER, "grounded_tiny", "vit_huge"]  # SOC's tokenizer is missing
    put(["roberta-base"])
    recipe = modern()
    assert {"soc_sam2", "soc_cutie"} <= set(recipe.node("final").members)
    assert recipe.model(recipe.node("soc")) == ICCV2023.model(ICCV2023.node("soc"))


def test_its_models_find_their_weights_without_options():
    put(CORE)
    weights = {model.name: model.weights for model in with_weights(modern(), {}).models}
    assert weights == {
        LEADER: "grounding-dino-base,sam2.1-base-plus",
        "grounded_tiny": "grounding-dino-tiny,sam2.1-base-plus",
        "sam2": "sam2.1-base-plus",
        "cutie": "cutie-base-mega",
    }


def test_the_best_recipe_is_the_first_whose_weights_are_all_there():
    with pytest.raises(RecipeError) as caught:
        best_recipe()
    what, else_what = str(caught.value).splitlines()
    assert "grounding-dino-base [933 MB, Apache-2.0]" in what
    assert "cutie-base-mega [140 MB, MIT" in what
    assert f"`uv run fusion-core weights fetch {' '.join(CORE)}`" in what
    assert "--recipe demo" in else_what

    put(CORE[:3])
    with pytest.raises(RecipeError, match="`uv run fusion-core weights fetch cutie-base-mega`"):
        best_recipe()
    put(needed_weights(ICCV2023))
    assert best_recipe() is ICCV2023
    put(CORE[3:])
    assert best_recipe().name == "modern"


def test_segment_without_weights_says_what_to_fetch_and_makes_nothing(tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["segment", str(tmp_path), "-e", "the dog", "--out", str(out)])
    assert result.exit_code == 2
    assert "fusion-core weights fetch grounding-dino-base" in result.stderr
    assert not out.exists()
