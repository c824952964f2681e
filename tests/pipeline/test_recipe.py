"""The published recipe from pictures and sentences to scores and a submission, through the commands that users type.

Weights are random, so the masks mean nothing. What is checked is that every program reads what the one before it wrote,
and that votes, scores and files follow from the masks.
"""

import json
import zipfile

import numpy as np
import pytest
from mask_interchange import MaskRun
from PIL import Image

from tests.drawn import FRAMES, SENTENCES, SIZE, draw_dataset
from tests.programs import programs

RVOS = {program.name: program for program in programs("-infer")}
PROPAGATORS = {program.name: program for program in programs("-propagate")}
FUSION = programs("fusion-core")[0]

# run of the recipe -> program, its configuration, and a seed of its own so that members differ
MEMBERS = {
    "soc": ("soc-infer", "tiny", 0),
    "mutr": ("mutr-infer", "tiny", 1),
    "referformer": ("referformer-infer", "tiny", 2),
    "vit_huge": ("uninext-infer", "tiny-vit", 3),
    "convnext": ("uninext-infer", "tiny-convnext", 4),
}
PROPAGATED = {
    "aot-propagate": ["soc", "mutr", "referformer", "soc_mutr_referft"],
    "deaot-propagate": ["vit_huge", "referformer", "vit_convnext_soc"],
}


def succeed(program, *arguments):
    result = program.run(*arguments)
    assert result.returncode == 0, f"{program} {arguments}:\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole recipe on the drawn data set; returns (dataset, runs)."""
    folder = tmp_path_factory.mktemp("recipe")
    dataset, runs = draw_dataset(folder / "data"), folder / "runs"
    for name, (program, config, seed) in MEMBERS.items():
        options = ["--config", config, "--weights", f"random:{seed}"]
        succeed(RVOS[program], "--dataset", dataset, "--out", runs / name, *options)
    succeed(FUSION, "fuse", "--stage", 1, "--runs", runs)
    for name, sources in PROPAGATED.items():
        suffix = name.removesuffix("-propagate")
        for source in sources:
            options = ["--config", "tiny", "--weights", "random:0", "--out", runs / f"{source}_{suffix}"]
            succeed(PROPAGATORS[name], "--dataset", dataset, "--masks", runs / source, *options)
    succeed(FUSION, "fuse", "--stage", 2, "--runs", runs)
    return dataset, runs


def masks(runs, name, video, expression):
    return MaskRun.open(runs / name).read(video).track(expression).stack()


def test_first_round_is_three_of_six_votes_of_a_pair(finished):
    _, runs = finished
    for fused, members in {
        "soc_mutr_referft": ["soc", "mutr", "referformer"],
        "vit_convnext_soc": ["vit_huge", "convnext", "soc"],
    }.items():
        votes = sum(masks(runs, m, "aa11", e).astype(int) for m in members for e in ("0", "1"))
        for expression in ("0", "1"):
            np.testing.assert_array_equal(masks(runs, fused, "aa11", expression), votes >= 3)
        np.testing.assert_array_equal(masks(runs, fused, "aa11", "2"), masks(runs, members[0], "aa11", "2"))
        first = MaskRun.open(runs / members[0]).read("aa11")
        for track in MaskRun.open(runs / fused).read("aa11").tracks:
            assert track.key_frame == first.track(track.expression.id).key_frame


def test_last_round_is_four_of_eight_votes_of_a_pair(finished):
    _, runs = finished
    members = ["vit_convnext_soc_deaot", "vit_huge_deaot", "en2", "referformer_deaot"]
    pair = sum(masks(runs, m, "bb22", e).astype(int) for m in members for e in ("0", "1"))
    single = sum(masks(runs, m, "bb22", "2").astype(int) for m in members)
    np.testing.assert_array_equal(masks(runs, "final", "bb22", "1"), pair >= 4)
    np.testing.assert_array_equal(masks(runs, "final", "bb22", "2"), single >= 3)


def test_submission_holds_the_final_masks_and_passes_the_checker(finished, tmp_path):
    dataset, runs = finished
    archive = tmp_path / "submission.zip"
    succeed(FUSION, "submit", runs / "final", "--out", archive, "--dataset", dataset)
    with zipfile.ZipFile(archive) as opened:
        expected = {f"Annotations/{v}/{e}/{f}.png" for v in ("aa11", "bb22") for e in SENTENCES for f in FRAMES}
        assert set(opened.namelist()) == expected
        with opened.open(f"Annotations/aa11/2/{FRAMES[1]}.png") as file:
            picture = np.asarray(Image.open(file))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, masks(runs, "final", "aa11", "2")[1] * np.uint8(255))
    result = FUSION.run("check-submission", archive, "--dataset", dataset)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_run_scored_against_itself_is_perfect(finished, tmp_path):
    _, runs = finished
    succeed(FUSION, "export", runs / "final", "--out", tmp_path / "truth")
    folder = tmp_path / "truth" / "Annotations"
    succeed(FUSION, "evaluate", runs / "final", "--annotations", folder, "--out", tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["overall"]["J"] == 1
    assert scores["overall"]["F"] == 1


def test_export_and_import_give_the_same_masks(finished, tmp_path):
    _, runs = finished
    succeed(FUSION, "export", runs / "soc", "--out", tmp_path / "png")
    arguments = ["--annotations", tmp_path / "png" / "Annotations", "--key-frames", tmp_path / "png" / "key_frame.json"]
    succeed(FUSION, "import", *arguments, "--out", tmp_path / "again")
    for video in ("aa11", "bb22"):
        before, after = MaskRun.open(runs / "soc").read(video), MaskRun.open(tmp_path / "again").read(video)
        assert (before.size, before.frame_names) == (after.size, after.frame_names) == (SIZE, tuple(FRAMES))
        for track in before.tracks:
            assert after.track(track.expression.id).masks == track.masks
            assert after.track(track.expression.id).key_frame == track.key_frame
