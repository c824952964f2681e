"""The README's code runs, and its table of what is where matches the tree."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_core.recipe.published import RECIPES
from golden_cases.readme import run_readme, write_clip
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks

PACKAGE = Path(__file__).parents[1]


def write_member(run, seed):
    rng = np.random.default_rng(seed)
    tracks = tuple(MaskTrack.from_masks(Expression(id=id_), rng.random((2, 4, 5)) < 0.5) for id_ in "01")
    manifest = RunManifest(
        producer="test", producer_version="1", dataset={"name": "test", "split": None, "fingerprint": None}
    )
    masks = VideoMasks(video="dog", size=(4, 5), frame_names=("0", "1"), tracks=tracks)
    MaskRun.create(run, manifest).write(masks)


def test_the_code_runs(tmp_path, monkeypatch, stage, capsys):
    for seed, name in enumerate(("soc", "mutr", "theirs")):
        write_member(tmp_path / "runs" / name, seed)
    write_clip(tmp_path / "dog.mp4")
    monkeypatch.setitem(RECIPES, "demo", replace(stage.recipe(), name="demo"))
    variables = run_readme(PACKAGE / "README.md", tmp_path)
    assert variables["fused"].expression_ids == ("0", "1")
    assert variables["summary"].complete
    assert "soc: IoU with the result 0." in capsys.readouterr().out


def test_the_table_matches_the_tree():
    source = PACKAGE / "src" / "fusion_core"
    rooms = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in source.glob("*.py")} - {"__init__"}
    table = (PACKAGE / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    rows = re.findall(r"^\| (`.*?`) \| .* \|$", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+/?)`", row)]
    assert sorted(named) == sorted({f"{room}/" for room in rooms} | modules)


@pytest.mark.parametrize("room", ["recipe", "weights", "voting", "running", "submission", "results"])
def test_every_module_of_a_sub_package_is_named(room):
    """In the README's row, and in the docstring of the sub-package."""
    folder = PACKAGE / "src" / "fusion_core" / room
    modules = [path.stem for path in folder.iterdir() if path.stem not in {"__init__", "__pycache__"}]
    (row,) = re.findall(
        rf"^\| `{room}/` \| (.*) \|$", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = re.findall(r"^(\w+)  +\w", (folder / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(modules)
    assert all(re.search(rf"`{module}/?`", row) for module in modules)
