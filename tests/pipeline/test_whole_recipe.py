"""`fusion-core run` drives the real programs through the published graph, at their tiny configurations.

Weights are random, so the masks mean nothing. What is checked is that the runner speaks with every program, that each
reads what the one before it wrote, that votes, scores and files follow from the masks, and that a run which was killed
goes on to the same bytes.
"""

import json
import os
import shutil
import signal
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from fusion_core.recipe.nodes import Predict, Propagate, Vote
from fusion_core.recipe.published import ICCV2023
from fusion_core.recipe.toml import recipe_as_toml
from mask_interchange import MaskRun
from PIL import Image

from tests.drawn import FRAMES, SENTENCES, SIZE, draw_dataset
from tests.programs import clean, programs

FUSION = programs("fusion-core")[0]
CONFIGS = {"vit_huge": "tiny-vit", "convnext": "tiny-convnext"}
SHORT_SIDES = {"mutr_432": 96}
VOTES = tuple(node.name for node in ICCV2023.nodes if isinstance(node, Vote))


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


def succeed(*arguments):
    result = FUSION.run(*arguments)
    assert result.returncode == 0, f"{arguments}:\n{result.stdout}{result.stderr}"
    return result


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
    groups = [set(event["runs"]) for event in whole[2] if event["event"] == "started"]
    assert {"soc_aot", "mutr_aot", "referformer_aot", "soc_mutr_referft_aot"} in groups
    assert {"vit_convnext_soc_deaot", "vit_huge_deaot", "referformer_deaot"} in groups


def stack(runs, name, video, expression):
    return MaskRun.open(runs / name).read(video).track(expression).stack()


def test_first_round_is_three_of_six_votes_of_a_pair(whole):
    _, runs, _ = whole
    for fused, members in {
        "soc_mutr_referft": ["soc", "mutr", "referformer"],
        "vit_convnext_soc": ["vit_huge", "convnext", "soc"],
    }.items():
        votes = sum(stack(runs, m, "aa11", e).astype(int) for m in members for e in ("0", "1"))
        for expression in ("0", "1"):
            np.testing.assert_array_equal(stack(runs, fused, "aa11", expression), votes >= 3)
        np.testing.assert_array_equal(stack(runs, fused, "aa11", "2"), stack(runs, members[0], "aa11", "2"))
        first = MaskRun.open(runs / members[0]).read("aa11")
        for track in MaskRun.open(runs / fused).read("aa11").tracks:
            assert track.key_frame == first.track(track.expression.id).key_frame


def test_last_round_is_four_of_eight_votes_of_a_pair(whole):
    _, runs, _ = whole
    members = ["vit_convnext_soc_deaot", "vit_huge_deaot", "en2", "referformer_deaot"]
    pair = sum(stack(runs, m, "bb22", e).astype(int) for m in members for e in ("0", "1"))
    single = sum(stack(runs, m, "bb22", "2").astype(int) for m in members)
    np.testing.assert_array_equal(stack(runs, "final", "bb22", "1"), pair >= 4)
    np.testing.assert_array_equal(stack(runs, "final", "bb22", "2"), single >= 3)


def test_propagations_keep_the_key_frame_of_their_source(whole):
    _, runs, _ = whole
    for node in (node for node in ICCV2023.nodes if isinstance(node, Propagate)):
        for track in MaskRun.open(runs / node.source).read("aa11").tracks:
            key = track.key_frame
            carried = stack(runs, node.name, "aa11", track.expression.id)
            np.testing.assert_array_equal(carried[key], track.mask(key))


def test_votes_by_hand_are_those_of_the_recipe(whole, tmp_path):
    _, runs, _ = whole
    shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns(".recipe", *VOTES))
    for stage in (1, 2):
        succeed("fuse", "--stage", stage, "--runs", tmp_path / "runs")
    assert masks(tmp_path / "runs") == masks(runs)


def test_submission_holds_the_final_masks_and_passes_the_checker(whole):
    dataset, runs, events = whole
    archive = events[-1]["submission"]
    with zipfile.ZipFile(archive) as opened:
        expected = {f"Annotations/{v}/{e}/{f}.png" for v in ("aa11", "bb22") for e in SENTENCES for f in FRAMES}
        assert set(opened.namelist()) == expected
        with opened.open(f"Annotations/aa11/2/{FRAMES[1]}.png") as file:
            picture = np.asarray(Image.open(file))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, stack(runs, "final", "aa11", "2")[1] * np.uint8(255))
    said = succeed("check-submission", archive, "--dataset", dataset).stdout
    assert f"{2 * len(SENTENCES) * len(FRAMES)} masks of 2 videos, 0 faults" in said


def test_a_run_scored_against_itself_is_perfect(whole, tmp_path):
    _, runs, _ = whole
    succeed("export", runs / "final", "--out", tmp_path / "truth")
    folder = tmp_path / "truth/masks/Annotations"
    succeed("evaluate", runs / "final", "--annotations", folder, "--out", tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["overall"]["J"] == 1
    assert scores["overall"]["F"] == 1


def test_export_and_import_give_the_same_masks(whole, tmp_path):
    _, runs, _ = whole
    succeed("export", runs / "soc", "--out", tmp_path / "png")
    succeed("import", "--annotations", tmp_path / "png/masks", "--out", tmp_path / "again")
    for video in ("aa11", "bb22"):
        before, after = MaskRun.open(runs / "soc").read(video), MaskRun.open(tmp_path / "again").read(video)
        assert (before.size, before.frame_names) == (after.size, after.frame_names) == (SIZE, tuple(FRAMES))
        for track in before.tracks:
            assert after.track(track.expression.id).masks == track.masks
            assert after.track(track.expression.id).key_frame == track.key_frame


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
