"""The short forms of tools/attacks: mutated files at every door of a reader."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "tools" / "attacks"
FILES = ["masks", "runs", "coco", "pngs", "zips", "recipes", "protocol"]
DATASETS = ["descriptions", "mask-lists", "texts", "pickles", "references", "instances"]


@pytest.mark.parametrize(
    ("script", "kind"), [("files.py", kind) for kind in FILES] + [("datasets.py", kind) for kind in DATASETS]
)
def test_mutated_files_end_with_a_value_or_the_error_of_their_door(script, kind):
    command = [sys.executable, SCRIPTS / script, kind, "--number", "300", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}: tried 300: read " in done.stdout
