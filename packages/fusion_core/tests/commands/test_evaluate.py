"""`fusion-core evaluate` prints and writes the scores of rvos_evaluation; user errors end with exit code 2."""

import csv
import json

import pytest
from fusion_core.cli import app
from mask_interchange import MaskRun, open_dataset
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import evaluate_run
from typer.testing import CliRunner


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_table_files_json_and_csv_agree(world, tmp_path):
    arguments = [world.runs / "final", "--annotations", world.annotations, "--dataset", world.dataset]
    table = evaluate(*arguments, "--out", tmp_path / "scores")
    assert table.exit_code == 0, table.output
    assert "mean over targets" in table.output
    tree = json.loads(evaluate(*arguments, "--json").stdout)
    assert tree == json.loads((tmp_path / "scores" / "scores.json").read_text())
    annotations, dataset = open_annotations(world.annotations), open_dataset(world.dataset)
    evaluation = evaluate_run(MaskRun.open(world.runs / "final"), annotations, dataset=dataset)
    assert tree["overall"]["J&F"] == evaluation.overall.jf
    text = evaluate(*arguments, "--csv").stdout
    assert text == (tmp_path / "scores" / "expressions.csv").read_text()
    assert len(list(csv.DictReader(text.splitlines()))) == len(evaluation.targets)


def test_a_folder_of_png_masks_is_sent_to_import(world):
    result = evaluate(world.annotations, "--annotations", world.annotations)
    assert result.exit_code == 2
    assert f"fusion-core import --annotations {world.annotations}" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--csv"], "choose one"),
        (["--protocol", "x"], "rvos"),
        (["--protocol", "ref-davis"], "Ref-DAVIS17 has 4 of every object"),
    ],
)
def test_wrong_use_is_explained(world, arguments, words):
    result = evaluate(world.runs / "a", "--annotations", world.annotations, *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
