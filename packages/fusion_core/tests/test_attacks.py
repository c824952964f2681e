"""The short form of tools/attacks/files.py: mutated files at every door of a reader."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "attacks" / "files.py"


@pytest.mark.parametrize("kind", ["masks", "runs", "coco", "pngs", "zips", "recipes", "protocol"])
def test_mutated_files_end_with_a_value_or_the_error_of_their_door(kind):
    command = [sys.executable, SCRIPT, kind, "--number", "300", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}: tried 300: read " in done.stdout
