"""`fusion-core demo`: the recipe `demo` on synthetic videos. A program that only acts takes the place of its models."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.recipe.published import DEMO, RECIPES
from mask_interchange import MaskRun, open_dataset
from rvos_synthetic import render_video
from typer.testing import CliRunner

ACTING = (sys.executable, str(Path(__file__).parents[1] / "acting.py"))


def demo(out, videos=1):
    return CliRunner().invoke(app, ["demo", "--out", str(out), "--videos", str(videos)])


def acted(*words):
    """The recipe with the acting program in place of every model; the arguments are more words for its command line."""
    models = tuple(
        replace(model, program=(*ACTING, *words), options={"seed": seed}, memory=0.1)
        for seed, model in enumerate(DEMO.models)
    )
    return replace(DEMO, models=models)


def alone(*words):
    """Of that recipe, only the first model."""
    recipe = acted(*words)
    return replace(recipe, models=recipe.models[:1], nodes=(recipe.node("soc"),), result="soc", ablation=())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A demo of the whole recipe; returns its folder and what was said."""
    out = tmp_path_factory.mktemp("demo") / "a demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "demo", acted())
        result = demo(out)
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_every_model_propagation_and_vote_has_its_run_of_the_synthetic_videos(finished):
    out, _ = finished
    video = render_video("test", 0)
    dataset = open_dataset(out / "dataset", "test")
    assert list(dataset.videos) == [video.name]
    np.testing.assert_array_equal(dataset.videos[video.name].read_frame(3), video.frames[3])
    for node in DEMO.nodes:
        tracks = MaskRun.open(out / "runs" / node.name).read(video.name).tracks
        assert [track.expression.text for track in tracks] == [one.text for one in video.expressions]


def test_scores_submission_and_report_are_shown(finished):
    out, said = finished
    table = (out / "result" / "ablation.md").read_text()
    assert table in said
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [step.label for step in DEMO.ablation]
    video = render_video("test", 0)
    assert f"{len(video.expressions) * len(video.frames)} masks of 1 videos, 0 faults, 0 warnings" in said
    page = (out / "report.html").read_text()
    assert all(f'data-run="{node.name}"' in page for node in DEMO.nodes)
    assert said.splitlines()[-1].endswith(str(out / "report.html"))


def test_every_command_is_shown_as_it_can_be_typed(finished):
    out, said = finished
    shown = [line for line in said.splitlines() if line.startswith("$ ")]
    assert [line.split()[1:3] for line in shown] == [
        ["rvos-synthetic", "--split"],
        ["fusion-core", "run"],
        ["fusion-core", "check-submission"],
        ["fusion-core", "report"],
    ]
    assert f"--dataset '{out}/dataset' --split test --runs '{out}/runs'" in shown[1]


def test_the_same_demo_goes_on_and_another_replaces_it(tmp_path, monkeypatch):
    out, log = tmp_path / "demo", tmp_path / "log.txt"
    monkeypatch.setitem(RECIPES, "demo", alone("--log", str(log)))
    assert demo(out, videos=2).exit_code == 0
    (out / "runs" / "soc" / "videos" / "test_000001.masks").unlink()
    log.unlink()
    assert demo(out, videos=2).exit_code == 0
    assert log.read_text().splitlines()[1:] == ["soc test_000001"]
    (out / "rubbish").write_text("of the demo before")
    assert demo(out, videos=1).exit_code == 0
    assert MaskRun.open(out / "runs" / "soc").videos() == ["test_000000"]
    assert not (out / "rubbish").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    result = demo(tmp_path)
    assert result.exit_code == 2
    assert "not of a demo" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_model_cannot_do_is_told_and_can_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "demo", alone("--fail", "test_000000"))
    result = demo(tmp_path / "demo")
    assert result.exit_code == 1
    assert "failed: soc: test_000000" in result.stderr
    assert not (tmp_path / "demo" / "report.html").exists()
    monkeypatch.setitem(RECIPES, "demo", alone())
    assert demo(tmp_path / "demo").exit_code == 0
