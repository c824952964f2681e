"""Recipes: the published one, and the faults that are found when one is made."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import AblationStep, Model, Recipe, option_arguments
from fusion_core.recipe.nodes import ExistingRun, Predict, Propagate, Rescore, Vote
from fusion_core.recipe.published import ICCV2023, RECIPES

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


def test_a_precision_is_for_models_that_name_none():
    models = Model(name="a", program=("a-infer",)), Model(name="b", program=("b",), options={"precision": "tf32"})
    nodes = Predict(name="x", model="a"), Predict(name="y", model="b")
    recipe = Recipe(name="r", result="x", nodes=nodes, models=models).in_precision("bfloat16")
    assert [option_arguments(model.options) for model in recipe.models] == [
        ["--precision", "bfloat16"],
        ["--precision", "tf32"],
    ]


def test_the_recipe_is_the_published_one():
    manifest = Path(__file__).parents[1] / "goldens" / "fusion_core" / "synth.manifest.json"
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
    assert {votes: vote.votes_needed(votes, leftover=False) for votes in needed} == needed


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


def a_recipe(*votes, result="v", members=("a", "b"), **more):
    given = tuple(ExistingRun(name=name, path=Path("runs") / name) for name in members)
    return Recipe(name="r", result=result, nodes=(*votes, *given), **more)


def test_a_recipe_names_each_run_once():
    with pytest.raises(RecipeError, match="two nodes write the run 'v'"):
        a_recipe(a_vote("v"), a_vote("v"))
    with pytest.raises(RecipeError, match="two nodes write the run 'v' and 'V', one name on some systems"):
        a_recipe(a_vote("v"), a_vote("V"))


def test_a_recipe_has_every_run_that_it_needs():
    with pytest.raises(RecipeError, match="'v' needs the run 'w', which no node makes") as caught:
        a_recipe(a_vote("v", ("a", "w")))
    assert caught.value.at == ("vote", "v", "members")


def test_a_recipe_has_every_model_that_it_needs():
    with pytest.raises(RecipeError, match=r"'p' needs the model 'm', but there are only no models") as caught:
        Recipe(name="r", result="p", nodes=(Predict(name="p", model="m"),))
    assert caught.value.at == ("predict", "p", "model")


def test_nodes_that_wait_for_each_other_are_named():
    with pytest.raises(RecipeError, match=r"wait for each other: (v -> w -> v|w -> v -> w)"):
        a_recipe(a_vote("v", ("a", "w")), a_vote("w", ("v", "b")))
    with pytest.raises(RecipeError, match="wait for each other: v -> v"):
        a_recipe(a_vote("v", ("v", "a")))


def test_the_result_and_the_ablation_are_runs_of_the_recipe():
    with pytest.raises(RecipeError, match="the result 'x' is not one of its runs"):
        a_recipe(a_vote("v"), result="x")
    for step in (AblationStep(label="l", runs=("x",)), AblationStep(label="l", runs=("v",), published={"x": 1.0})):
        with pytest.raises(RecipeError, match="ablation 'l': 'x' is not a run of the recipe"):
            a_recipe(a_vote("v"), ablation=(step,))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\nb"])
def test_names_of_runs_are_safe_parts_of_paths(name):
    with pytest.raises(RecipeError):
        Predict(name=name, model="m")


def test_nodes_come_in_an_order_in_which_they_can_be_made():
    made = set()
    for node in ICCV2023.nodes:
        assert set(node.inputs) <= made
        made.add(node.name)
    shuffled = replace(ICCV2023, nodes=tuple(reversed(ICCV2023.nodes)))
    assert {node.name for node in shuffled.nodes} == made


def test_the_published_recipe_propagates_what_was_published():
    propagated = {node.name: (node.model, node.source) for node in ICCV2023.nodes if isinstance(node, Propagate)}
    assert propagated == {
        "soc_aot": ("aot", "soc"),
        "mutr_aot": ("aot", "mutr_432"),
        "referformer_aot": ("aot", "referformer"),
        "soc_mutr_referft_aot": ("aot", "soc_mutr_referft"),
        "vit_convnext_soc_deaot": ("deaot", "vit_convnext_soc"),
        "vit_huge_deaot": ("deaot", "vit_huge"),
        "referformer_deaot": ("deaot", "referformer"),
    }
    sizes = {node.name: dict(node.options) for node in ICCV2023.nodes if isinstance(node, Predict) and node.options}
    assert sizes == {"mutr_432": {"short_side": 432}}


def test_rounds_count_the_propagations_below():
    rounds = {
        name: ICCV2023.round(ICCV2023.node(name)) for name in ("soc", "vit_convnext_soc", "soc_aot", "en2", "final")
    }
    assert rounds == {"soc": 0, "vit_convnext_soc": 0, "soc_aot": 1, "en2": 1, "final": 1}


def test_the_faithful_recipe_has_the_published_graph():
    faithful = RECIPES["iccv2023-faithful"]
    assert [(node.name, node.inputs) for node in faithful.nodes] == [(n.name, n.inputs) for n in ICCV2023.nodes]


def test_the_demo_has_the_published_graph_but_for_key_frames_and_the_second_run_of_mutr():
    demo = RECIPES["demo"]
    assert all(model.weights == "own" for model in demo.models)
    agreeing = set(demo.node("soc_mutr_referft").members)
    sources = {}
    for node in demo.nodes:
        if isinstance(node, Rescore):
            sources[node.name] = node.source
            assert set(node.judges) == agreeing - {node.source}
    assert set(sources.values()) == agreeing | {"soc_mutr_referft"}
    made = {n.name: [sources.get(run, run) for run in n.inputs] for n in demo.nodes if n.name not in sources}
    published = {n.name: [run.removesuffix("_432") for run in n.inputs] for n in ICCV2023.nodes}
    del published["mutr_432"]
    assert made == published
    assert demo.ablation[0].runs == ICCV2023.ablation[0].runs


def test_the_faithful_recipe_propagates_faithfully():
    faithful = {model.name for model in RECIPES["iccv2023-faithful"].models if model.options.get("faithful")}
    assert faithful == {"aot", "deaot"}


def test_options_become_a_command_line():
    options = {"config": "tiny", "short_side": 432, "flip": False, "faithful": True, "cache": 0.5}
    words = ["--config", "tiny", "--short-side", "432", "--no-flip", "--faithful", "--cache", "0.5"]
    assert option_arguments(options) == words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program": ()}, "command line is empty"),
        ({"checkpoint": Path("a"), "weights": "random:0"}, "give one of the two"),
        ({"memory": 0}, "positive number of GiB"),
        ({"name": "a/b"}, "a/b"),
    ],
)
def test_a_model_that_cannot_be_is_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        Model(**{"name": "m", "program": ("x",), **changes})


@pytest.mark.parametrize("stage", [0, 3, -1])
def test_a_recipe_knows_its_stages(stage):
    with pytest.raises(RecipeError, match=f"has stages 1 to 2, not {stage}"):
        ICCV2023.stage(stage)
