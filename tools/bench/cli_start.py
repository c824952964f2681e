"""Seconds until a command says something, against a Python that does nothing.

    uv run python tools/bench/cli_start.py
    uv run --package grounded-sam2 python tools/bench/cli_start.py sam2-propagate grounded-sam2-infer

Of a program also wrong use, and the first line of a real run on a drawn video with a tiny network.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def until_first_line(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor until a command has said its first line, on whichever output."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - start
    os.kill(process.pid, signal.SIGKILL)
    _, _, used = os.wait4(process.pid, 0)
    return seconds, used.ru_utime + used.ru_stime


def commands(program: str, folder: Path) -> dict[str, list[str]]:
    """What is timed of a program, by name."""
    executable = str(Path(sysconfig.get_path("scripts")) / program)
    found = {f"{program} --help": [executable, "--help"]}
    if program.endswith(("-infer", "-propagate")):
        subject = ["-e", "a square"] if program.endswith("-infer") else ["--mask", str(folder / "mask.png")]
        run = [executable, "--video", str(folder / "clip"), *subject, "--out", str(folder / program)]
        found[f"{program}, wrong use"] = [*run, "--config", "huge"]
        found[f"{program}, a run"] = [*run, "--config", "tiny", "--weights", "random:0", "--device", "cpu"]
    return found


def main() -> None:
    """Time everything in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=["fusion-core"])
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clip").mkdir()
        for i in range(2):
            Image.fromarray(np.full((96, 128, 3), 60 * i, np.uint8)).save(folder / "clip" / f"{i:05d}.png")
        Image.fromarray(np.eye(96, 128, dtype=np.uint8)).save(folder / "mask.png")
        timed = {"python -c pass": [sys.executable, "-c", "print()"]}
        for program in options.programs:
            timed |= commands(program, folder)
        times = [{name: until_first_line(command) for name, command in timed.items()} for _ in range(options.repeats)]
    for name in timed:
        clock, processor = zip(*(row[name] for row in times), strict=True)
        print(
            f"{name:36} median {statistics.median(clock):.2f} s  largest {max(clock):.2f} s  of {options.repeats}, "
            f"{statistics.median(processor):.2f} s of the processor"
        )


if __name__ == "__main__":
    main()
