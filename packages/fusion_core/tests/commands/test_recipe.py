"""`fusion-core plan` and `fusion-core run`, as users call them."""

import csv
import json
import shutil
import sys
import zipfile
from dataclasses import replace

import pytest
from fusion_core.cli import app
from fusion_core.recipe.toml import read_recipe, recipe_as_toml
from mask_interchange import MaskRun
from mask_interchange.png_folders import export_annotations
from typer.testing import CliRunner


def call(command, stage, *options, recipe=None):
    places = ["--recipe", recipe or stage.write_recipe(), "--dataset", stage.root, "--runs", stage.runs]
    return CliRunner().invoke(app, [command, *map(str, [*places, *options])])


def test_the_written_recipe_is_the_one_of_the_other_tests(stage):
    assert read_recipe(stage.write_recipe()) == stage.recipe()


def test_a_run_ends_with_a_submission(stage, undisturbed):
    result = call("run", stage)
    assert result.exit_code == 0, result.stderr
    assert stage.files() == undisturbed
    assert "late: complete after 0:0" in result.stdout
    assert "a [3/3] v3: done in " in result.stderr
    with zipfile.ZipFile(stage.runs.parent / "result" / "submission.zip") as archive:
        assert len(archive.namelist()) == 3 * 3 * 2  # videos, expressions, frames
    assert not (stage.runs.parent / "result" / "scores").exists()


@pytest.mark.parametrize("name", ["speed.json", "logs", "runs", "videos"])
def test_a_run_may_be_called_as_a_record(stage, tmp_path, name):
    recipe = stage.recipe()
    nodes = (replace(recipe.node("a"), name=name),)
    path = tmp_path / "named.toml"
    path.write_text(recipe_as_toml(replace(recipe, nodes=nodes, result=name, ablation=())))
    for _ in range(2):
        result = call("run", stage, recipe=path)
        assert result.exit_code == 0, result.stderr
    assert stage.computed() == {f"{name} v{i}": 1 for i in (1, 2, 3)}


def test_folders_of_runs_side_by_side_have_results_of_their_own(stage):
    for runs in (stage.runs, stage.runs.with_name("others")):
        assert call("run", stage, "--runs", runs).exit_code == 0
    beside = stage.runs.parent
    assert (beside / "result" / "submission.zip").is_file()
    assert (beside / "others_result" / "submission.zip").is_file()


def test_runs_and_results_are_not_mixed_whatever_their_folders_are_called(stage):
    """The results of `runs` go to `result`, which may be the runs of somebody else, or become them."""
    other = stage.runs.with_name("result")
    assert call("run", stage, "--runs", other).exit_code == 0
    before = sorted(other.rglob("*"))
    result = call("run", stage)
    assert result.exit_code == 2
    assert f"{other}: expected a folder for results, found runs; give another with --out" in result.stderr
    assert sorted(other.rglob("*")) == before
    assert not stage.runs.exists()
    assert call("run", stage, "--out", stage.runs.with_name("mine")).exit_code == 0
    result = call("run", stage, "--runs", stage.runs.with_name("mine"))
    assert result.exit_code == 2
    assert "expected a folder for runs, found the results of others" in result.stderr


def test_true_masks_bring_scores_and_the_ablation(stage, tmp_path):
    stage.carry_out()
    export_annotations(MaskRun.open(stage.runs / "late"), tmp_path / "true")
    result = call("run", stage, "--annotations", tmp_path / "true", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    best, last = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert (last["label"], last["run"], last["jf"]) == ("+ all", "late", 100.0)
    assert best["run"] in {"a", "b"}
    assert last["gain"] == pytest.approx(100 - best["jf"])
    assert best["published"] == ["a", 50.0]
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert table in result.stdout
    assert "50.0 (a)" in table
    with open(tmp_path / "out" / "scores" / "videos.csv") as file:
        assert [row["video"] for row in csv.DictReader(file)] == ["v1", "v2", "v3"]


def test_annotations_beside_the_frames_are_found(stage):
    stage.carry_out()
    export_annotations(MaskRun.open(stage.runs / "late"), stage.root.parent / "true")
    shutil.move(stage.root.parent / "true" / "Annotations", stage.root / "Annotations")
    events = [json.loads(line) for line in call("run", stage, "--json").stdout.splitlines()]
    assert events[-1]["event"] == "finished"
    assert events[-1]["scores"]["late"] == 100.0


def test_what_failed_is_told_with_a_command_to_look_at_it(stage):
    recipe = stage.write_recipe(a=("--fail", "v2"))
    result = call("run", stage, recipe=recipe)
    assert result.exit_code == 1
    assert "failed: a: v2: video v2: cannot, as asked" in result.stderr
    assert "--videos v2" in result.stderr
    assert "not begun: late: v2" in result.stderr
    assert "the same command tries again what is missing" in result.stderr
    assert not (stage.runs.parent / "result").exists()
    events = [json.loads(line) for line in call("run", stage, "--json", recipe=recipe).stdout.splitlines()]
    assert events[-1]["complete"] is False
    (failure,) = events[-1]["failures"]
    assert (failure["job"], failure["video"]) == ("a", "v2")


def test_a_plan_shows_what_is_done_and_changes_nothing(stage):
    plan = json.loads(call("plan", stage, "--json").stdout)
    assert not stage.runs.exists()
    assert (plan["missing"], plan["seconds"]) == (18, None)
    assert {node["name"]: node["inputs"] for node in plan["nodes"]}["late"] == ["early_p", "a_p", "b"]
    stage.carry_out()
    before = stage.files()
    (stage.root / "JPEGImages" / "v1" / "00000.png").write_bytes(
        (stage.root / "JPEGImages" / "v2" / "00000.png").read_bytes()
    )
    plan = json.loads(call("plan", stage, "--json").stdout)
    assert stage.files() == before
    assert [node["missing"] for node in plan["nodes"]] == [["v1"]] * 6
    assert plan["seconds"] > 0
    table = call("plan", stage).stdout
    assert "vote, 3 of 6" in table
    assert "6 videos to make in 6 runs of 3" in table


def test_a_row_is_one_line_where_nobody_looks_on(stage, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    rows = [line for line in call("plan", stage).stdout.splitlines() if line.startswith("late ")]
    assert len(rows) == 1
    assert all(part in rows[0] for part in ("vote, ", "3", "unknown"))


def test_a_plan_says_why_a_run_would_be_made_again(stage):
    stage.carry_out()
    recipe = stage.write_recipe()
    recipe.write_text(recipe.read_text().replace("seed = 1", "seed = 5"))
    result = call("plan", stage, recipe=recipe)
    assert "recomputing because options.seed: was 1, is 5" in " ".join(result.stdout.split())


def test_a_plan_names_a_program_that_is_not_there(stage):
    recipe = stage.write_recipe()
    recipe.write_text(recipe.read_text().replace(sys.executable, "no-such-program", 1))
    result = call("plan", stage, recipe=recipe)
    assert result.exit_code == 0
    assert "a: no program 'no-such-program' on the PATH" in " ".join(result.stdout.split())


def test_a_plan_names_the_weights_that_a_folder_lacks(stage, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "a.pth").touch()
    recipe = stage.write_recipe()
    recipe.write_text(recipe.read_text().replace('weights = "random:0"\n', ""))
    result = call("plan", stage, "--checkpoints", weights, recipe=recipe)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "no weights for b, p: give --checkpoint b=PATH --checkpoint p=PATH, a folder of b.*, p.* with" in said
    plan = json.loads(call("plan", stage, "--checkpoints", weights, "--json", recipe=recipe).stdout)
    assert plan["models_without_weights"] == ["b", "p"]


def test_wrong_use(stage, tmp_path):
    result = call("run", stage, recipe="iccv2024")
    assert result.exit_code == 2
    assert "no recipe 'iccv2024'" in result.stderr
    result = call("run", stage, "--checkpoint", "z=a.pth")
    assert result.exit_code == 2
    assert "recipe 'acted' has the models a, b, p" in result.stderr
    assert call("run", stage, "--address", "auto").exit_code == 2
    assert call("run", stage, "--device", "tpu").exit_code == 2
    result = CliRunner().invoke(app, ["run", "--dataset", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "expected a data set's folder" in result.stderr
    result = CliRunner().invoke(app, ["run", "--dataset", str(stage.root), "--runs", str(stage.runs)])
    assert result.exit_code == 2
    assert "no weights for" in result.stderr
    assert not list(stage.runs.glob("*"))


def test_a_full_disk_is_told(stage, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusion_core.running.provenance.write_whole", full)
    result = call("run", stage)
    assert result.exit_code == 1
    assert "the disk is full: [Errno 28] No space left on device; make room" in result.stderr
