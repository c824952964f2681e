"""Seconds until `fusion-core --help` is done, against a Python that does nothing.

uv run python tools/bench/cli_start.py
"""

import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

REPEATS = 20


def seconds(command: list[str]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time both in turn and print the table."""
    help_command = [str(Path(sysconfig.get_path("scripts")) / "fusion-core"), "--help"]
    nothing = [sys.executable, "-c", "pass"]
    times = [(seconds(help_command), seconds(nothing)) for _ in range(REPEATS)]
    for name, column in (("fusion-core --help", 0), ("python -c pass", 1)):
        values = [row[column] for row in times]
        print(f"{name:20} median {statistics.median(values):.3f} s  largest {max(values):.3f} s  of {REPEATS}")


if __name__ == "__main__":
    main()
