"""The benchmark scripts work, and the vote on 720p masks equals the plain vote on floats that it is timed against."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[3] / "tools" / "bench"


def test_first_stage_votes_equal_the_float_votes():
    command = [sys.executable, BENCH / "fuse_stage1.py", "--videos", "2", "--frames", "2", "--compared", "1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[-2:]] == ["votes", "files"]
