"""Time and memory of `fusion-core demo`, all its processes together.

    uv run --package fusion-core python tools/bench/demo.py [--videos 6]

The environments of the programs should be there already: the first demo after an installation also compiles their
Python files. Memory is the largest sum of the proportional set sizes (shared pages counted once) that was seen, asked
for five times a second.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

COMMAND = "from fusion_core.cli import main; main()"


def memory(process):
    """Bytes of a process and all below it."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):  # it has just ended
            total += one.memory_full_info().pss
    return total


def measure(arguments):
    """Seconds, CPU seconds and the largest number of bytes of a command."""
    peak, over = 0, threading.Event()
    before = psutil.Process().cpu_times()
    start = time.perf_counter()
    started = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments])

    def watch():
        nonlocal peak
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(started.pid)
            while not over.wait(0.2):
                peak = max(peak, memory(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = started.wait()
    seconds = time.perf_counter() - start
    over.set()
    watcher.join()
    if code:
        sys.exit(code)
    after = psutil.Process().cpu_times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, spent, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds, spent, peak = measure(["demo", "--videos", str(options.videos), "--out", str(Path(folder) / "demo")])
    print(f"{options.videos} videos: {seconds:.0f} s, {spent:.0f} s of CPU time, {peak / 1e9:.2f} GB at most")


if __name__ == "__main__":
    main()
