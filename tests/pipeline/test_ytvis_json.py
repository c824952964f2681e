"""The conversion between Ref-YouTube-VOS expressions and UNINEXT's YTVIS-style JSON, as a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drawn import FRAMES, SENTENCES, SIZE

TOOL = Path(__file__).parents[2] / "tools" / "ytvis_json.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True)


def there_and_back(root: Path, tmp_path: Path) -> dict:
    result = run("write", root, tmp_path / "ytvis.json")
    assert result.returncode == 0, result.stderr
    result = run("read", tmp_path / "ytvis.json", tmp_path / "meta.json")
    assert result.returncode == 0, result.stderr
    return json.loads((tmp_path / "meta.json").read_text())


def test_an_entry_an_expression(dataset, tmp_path):
    meta = there_and_back(dataset, tmp_path)
    assert meta == json.loads((dataset / "meta_expressions.json").read_text())
    content = json.loads((tmp_path / "ytvis.json").read_text())
    entries = content["videos"]
    assert [entry["id"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [(entry["video"], entry["exp_id"]) for entry in entries[:2]] == [("aa11", "0"), ("aa11", "1")]
    assert entries[0]["file_names"] == [f"aa11/{frame}.jpg" for frame in FRAMES]
    assert (entries[0]["height"], entries[0]["width"], entries[0]["length"]) == (*SIZE, len(FRAMES))
    assert entries[2]["expressions"] == [SENTENCES["2"]]
    assert content["categories"] == [{"supercategory": "object", "id": 1, "name": "object"}]


def test_real_expressions_survive(tmp_path):
    root = Path(os.environ.get("RVOS_DATA", "absent")) / "davis_mini"
    if not root.is_dir():
        pytest.skip("needs RVOS_DATA with davis_mini")
    meta = json.loads((root / "meta_expressions.json").read_text())
    assert there_and_back(root, tmp_path)["videos"] == meta["videos"]


def break_frames(entries):
    entries[1]["file_names"] = entries[1]["file_names"][:2]


def break_path(entries):
    entries[0]["file_names"][0] = "../aa11/00000.jpg"


def break_id(entries):
    entries[1]["exp_id"] = entries[0]["exp_id"]


def break_key(entries):
    del entries[0]["video"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (break_frames, "other frames"),
        (break_path, "expected aa11/<frame>.jpg"),
        (break_id, "has expression '0' already"),
        (break_key, "videos.0.video"),
    ],
)
def test_faults_are_named(dataset, tmp_path, fault, message):
    assert run("write", dataset, tmp_path / "ytvis.json").returncode == 0
    content = json.loads((tmp_path / "ytvis.json").read_text())
    fault(content["videos"])
    (tmp_path / "ytvis.json").write_text(json.dumps(content))
    result = run("read", tmp_path / "ytvis.json", tmp_path / "meta.json")
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "meta.json").exists()
