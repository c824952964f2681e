"""The README's first command, with the weights that the programs ship."""

import hashlib
import json

import pytest
from fusion_core.recipe.nodes import Predict, Propagate
from fusion_core.recipe.published import DEMO
from mask_interchange import MaskRun

from tests.programs import ROOT, programs

FUSION = programs("fusion-core")[0]
SHIPPED = {hashlib.sha256(path.read_bytes()).hexdigest() for path in ROOT.glob("packages/*/src/*/*.safetensors")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A demo of one video; returns its folder and what it said."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    result = FUSION.run("demo", "--videos", 1, "--out", out)
    assert result.returncode == 0, result.stdout + result.stderr
    return out, result.stdout


def test_every_program_works_with_the_weights_that_it_ships(finished):
    out, _ = finished
    used = {}
    for node in DEMO.nodes:
        manifest = MaskRun.open(out / "runs" / node.name).manifest
        if isinstance(node, Predict | Propagate):
            model = DEMO.model(node)
            assert manifest.producer == model.program[0]
            assert manifest.settings["config"] == model.options["config"]
            used[model.name] = manifest.checkpoint_sha256
    assert set(used.values()) <= SHIPPED
    assert len(set(used.values())) == len(used)


def test_models_find_what_sentences_mean(finished):
    """Marking nothing, or everything, scores about 3 on this video."""
    out, said = finished
    rows = json.loads((out / "result" / "ablation.json").read_text())
    assert [row["label"] for row in rows] == [step.label for step in DEMO.ablation]
    assert all(row["jf"] > 15 for row in rows), rows
    assert (out / "result" / "ablation.md").read_text() in said


def test_the_submission_passes_and_the_report_is_there(finished):
    out, said = finished
    assert "0 faults, 0 warnings" in said
    assert (out / "report.html").stat().st_size > 100_000
    assert said.splitlines()[-1].endswith(str(out / "report.html"))
