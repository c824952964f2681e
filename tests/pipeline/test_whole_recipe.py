"""`fusion-core run` drives the real programs through the published graph, at their tiny configurations.

Weights are random, so the masks mean nothing. What is checked is that the runner speaks with every program, that a run
which was killed goes on to the same bytes, and what comes out at the end.
"""

import json
import os
import signal
import subprocess
from dataclasses import replace

import pytest
from fusion_core.recipe import ICCV2023, Predict
from fusion_core.recipe_file import recipe_as_toml
from mask_interchange import MaskRun

from tests.drawn import FRAMES, SENTENCES, draw_dataset
from tests.programs import clean, programs

FUSION = programs("fusion-core")[0]
CONFIGS = {"vit_huge": "tiny-vit", "convnext": "tiny-convnext"}
SHORT_SIDES = {"mutr_432": 96}


def tiny():
    """The published recipe with tiny networks and small frames."""
    models = []
    for number, model in enumerate(ICCV2023.models):
        options = {"config": CONFIGS.get(model.name, "tiny")}
        if "propagate" not in model.program[0]:
            options["short_side"] = 64
        models.append(replace(model, options=options, weights=f"random:{number}", memory=1.0))
    nodes = [
        replace(node, options={"short_side": SHORT_SIDES[node.name]} if node.name in SHORT_SIDES else {})
        if isinstance(node, Predict)
        else node
        for node in ICCV2023.nodes
    ]
    return replace(ICCV2023, name="tiny", models=tuple(models), nodes=tuple(nodes))


def command(folder, dataset, runs):
    recipe = folder / "tiny.toml"
    recipe.write_text(recipe_as_toml(tiny()))
    return FUSION.command("run", "--json", "--recipe", recipe, "--dataset", dataset, "--runs", runs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The recipe in one go; returns (data set, runs, events)."""
    folder = tmp_path_factory.mktemp("whole")
    dataset, runs = draw_dataset(folder / "data"), folder / "runs"
    result = subprocess.run(command(folder, dataset, runs), capture_output=True, text=True, env=clean())
    assert result.returncode == 0, result.stderr
    return dataset, runs, [json.loads(line) for line in result.stdout.splitlines()]


def masks(runs):
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.glob("*/videos/*.masks"))}


def test_every_run_of_the_recipe_is_made_by_its_program(whole):
    _, runs, events = whole
    assert events[-1]["complete"]
    made = {path.parent.name: MaskRun.open(path.parent) for path in runs.glob("*/run.json")}
    assert set(made) == {node.name for node in ICCV2023.nodes}
    for node in ICCV2023.nodes:
        assert made[node.name].videos() == ["aa11", "bb22"]
        program = "fusion-core" if node.kind == "vote" else ICCV2023.model(node).program[0]
        assert made[node.name].manifest.producer == program
    sides = {name: made[name].manifest.settings["short_side"] for name in ("mutr", "mutr_432")}
    assert sides == {"mutr": 64, "mutr_432": 96}


def test_propagations_by_one_program_share_its_work(whole):
    started = {event["job"] for event in whole[2] if event["event"] == "started"}
    groups = [set(job.split(" + ")) for job in started if " + " in job]
    assert {"soc_aot", "mutr_aot", "referformer_aot", "soc_mutr_referft_aot"} in groups
    assert {"vit_convnext_soc_deaot", "vit_huge_deaot", "referformer_deaot"} in groups


def test_the_submission_is_complete(whole):
    dataset, _, events = whole
    result = FUSION.run("check-submission", events[-1]["submission"], "--dataset", dataset)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{2 * len(SENTENCES) * len(FRAMES)} masks of 2 videos, 0 faults" in result.stdout


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(whole, tmp_path):
    dataset, runs, _ = whole
    again = tmp_path / "runs"
    for until in ("soc", "vit_convnext_soc"):  # in the middle of a model, and of the votes
        process = subprocess.Popen(command(tmp_path, dataset, again), stdout=subprocess.PIPE, text=True, env=clean())
        for line in process.stdout:
            event = json.loads(line)
            if (event["event"], event.get("job")) == ("started", until):
                os.kill(process.pid, signal.SIGKILL)
        process.wait()
    result = subprocess.run(command(tmp_path, dataset, again), capture_output=True, text=True, env=clean())
    assert result.returncode == 0, result.stderr
    assert masks(again) == masks(runs)
