"""Cutie on long videos: peak memory of the whole command, by the number of frames.

    uv run --package cutie python tools/bench/cutie_memory.py [--config tiny] [--frames 300,3000] [--long-term]

A synthetic video of 96 x 128 pixels, one object, its mask on the middle frame. Each measurement runs in a process of
its own and includes reading frames and encoding masks.
"""

import argparse
import subprocess
import sys

SIZE = (96, 128)


def measure(options: argparse.Namespace) -> None:
    """Propagate one mask and print the peak memory of this process, MiB, and its memory before the first frame."""
    import torch
    from cutie import CutiePropagator
    from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings
    from long_videos import DrawnVideo, print_peak

    torch.set_num_threads(options.threads)
    settings = PropagationSettings(memory=MemoryPolicy(long_term=LongTerm() if options.long_term else None))
    propagator = CutiePropagator.load(seed=0, config=options.config, device="cpu", settings=settings)
    print_peak(propagator, DrawnVideo(int(options.frames), SIZE), int(options.frames) // 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tiny")
    parser.add_argument("--frames", default="300,3000")
    parser.add_argument("--long-term", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    print(f"{'frames':>8s}{'peak MiB':>10s}{'before MiB':>12s}{'ratio to first':>16s}")
    first = 0
    for frames in map(int, options.frames.split(",")):
        command = [sys.executable, __file__, "--measure", "--config", options.config, "--frames", str(frames)]
        command += ["--threads", str(options.threads), *(["--long-term"] if options.long_term else [])]
        highest, before = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        first = first or highest
        print(f"{frames:8d}{highest:10d}{before:12d}{highest / first:15.2f}x", flush=True)


if __name__ == "__main__":
    main()
