"""Recipes: the published one, and the faults that are found when one is made."""

import json
from pathlib import Path

import pytest
from fusion_core.errors import RecipeError
from fusion_core.recipe import ICCV2023, Recipe, Vote

# Names of the published mask sets and of the runs of the recipe.
RUN_NAMES = {
    "referformer_ft": "referformer",
    "aot.soc_mutr_referft": "soc_mutr_referft_aot",
    "aot.soc": "soc_aot",
    "aot.mutr": "mutr_aot",
    "aot.referformer_ft": "referformer_aot",
    "deaot.vit_convnext_soc": "vit_convnext_soc_deaot",
    "deaot.vit-huge": "vit_huge_deaot",
    "deaot.referformer_ft": "referformer_deaot",
    "out.mask.en2": "en2",
}


def test_the_recipe_is_the_published_one():
    manifest = Path(__file__).parent / "goldens" / "fusion_core" / "synth.manifest.json"
    config = json.loads(manifest.read_text())["config"]

    def members(names):
        return tuple(RUN_NAMES.get(name, name) for name in names)

    for vote, (name, rule) in zip(ICCV2023.stage(1), config["stage1"].items(), strict=True):
        assert (vote.name, vote.members, vote.leftover) == (name, members(rule["models"]), "first")
        assert (vote.threshold, vote.out_of) == (rule["pair_threshold"], 2 * len(rule["models"]))
        assert vote.leftover_takes_support == (rule["models"][0] in config["probability_models"])
    for vote, (name, rule) in zip(ICCV2023.stage(2), config["stage2"].items(), strict=True):
        assert (vote.name, vote.members, vote.leftover) == (name, members(rule["inputs"]), rule["leftover_threshold"])
        assert (vote.threshold, vote.out_of) == (rule["pair_threshold"], 2 * len(rule["inputs"]))
        assert not vote.leftover_takes_support


def a_vote(name="v", members=("a", "b"), **changes):
    return Vote(**{"name": name, "members": members, "threshold": 2, "out_of": 4, **changes})


@pytest.mark.parametrize(
    ("threshold", "out_of", "needed"),
    [
        (3, 6, {3: 2, 6: 3, 9: 5, 12: 6}),  # one half, ties foreground
        (4, 8, {4: 2, 8: 4, 12: 6}),
        (1, 6, {3: 1, 6: 1, 12: 2}),
        (6, 6, {3: 3, 6: 6, 12: 12}),
    ],
)
def test_a_pool_of_any_size_needs_the_same_share(threshold, out_of, needed):
    vote = a_vote(members=("a", "b", "c"), threshold=threshold, out_of=out_of)
    assert {votes: vote.needed(votes) for votes in needed} == needed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": ()}, "at least one run"),
        ({"threshold": 0}, "between 1 and the 4 votes that 2 members cast, not 0"),
        ({"threshold": 5}, "between 1 and the 4 votes that 2 members cast, not 5"),
        ({"leftover": 3}, "between 1 and the 2 votes that one expression gets, not 3"),
        ({"leftover": 0}, "not 0"),
        ({"leftover_takes_support": True}, "needs leftover 'first'"),
    ],
)
def test_a_vote_that_cannot_be_is_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        a_vote(**changes)


def test_a_recipe_names_each_run_once():
    with pytest.raises(RecipeError, match="two nodes write the run 'v'"):
        Recipe(name="r", stages=((a_vote("v"),), (a_vote("v"),)))


@pytest.mark.parametrize("members", [("v",), ("a", "w")])
def test_a_recipe_can_be_made_in_its_order(members):
    with pytest.raises(RecipeError, match=f"'v' needs '{members[-1]}', which is not made before it"):
        Recipe(name="r", stages=((a_vote("v", members),), (a_vote("w"),)))


@pytest.mark.parametrize("stage", [0, 3, -1])
def test_a_recipe_knows_its_stages(stage):
    with pytest.raises(RecipeError, match=f"has stages 1 to 2, not {stage}"):
        ICCV2023.stage(stage)
