"""examples/member: the commands of its README, on the drawn data set."""

import os
import subprocess

import numpy as np
import pytest
from mask_interchange import MaskRun

from tests.drawn import SENTENCES
from tests.programs import ROOT, clean, programs

EXAMPLE = ROOT / "examples" / "member"


@pytest.fixture(scope="module")
def environment():
    """Its own environment, exactly as its own lock file says."""
    command = [os.environ.get("UV", "uv"), "sync", "--locked", "--quiet", "--project", str(EXAMPLE)]
    subprocess.run(command, check=True, env=clean())


def test_its_recipe_votes_with_a_program_of_the_workspace(environment, dataset, tmp_path):
    fusion = programs("fusion-core")[0]
    runs = tmp_path / "runs"
    result = fusion.run("run", "--recipe", EXAMPLE / "recipe.toml", "--dataset", dataset, "--runs", runs)
    assert result.returncode == 0, result.stdout + result.stderr
    colours, soc, voted = (MaskRun.open(runs / name) for name in ("colours", "soc", "voted"))
    assert voted.videos() == colours.videos() == soc.videos()
    for video in voted.videos():
        for key in SENTENCES:
            one, other, both = (run.read(video).track(key).stack() for run in (colours, soc, voted))
            assert np.array_equal(both, one | other)


def test_it_finds_what_it_looks_for(environment, dataset, tmp_path):
    video = next((dataset / "JPEGImages").iterdir())
    command = [EXAMPLE / ".venv" / "bin" / "colours-infer", "--video", video, "-e", "a red square", "-e", "a square"]
    out = tmp_path / "run"
    subprocess.run(list(map(str, [*command, "--soft-masks", 32, "--out", out])), check=True, env=clean())
    red, any_colour = MaskRun.open(out).read(video.name).tracks
    assert [mask[10:25, 5 + 9 * step : 20 + 9 * step].mean() > 0.9 for step, mask in enumerate(red.stack())] == [
        True
    ] * 3
    assert red.stack().mean() < 0.15
    assert red.soft.shape[2] == 32
    assert not any_colour.stack().any()
