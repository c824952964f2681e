"""Mask propagation of long videos: peak memory with and without a cap on the long-term memory.

    uv run --package aot-deaot python tools/bench/propagate_memory.py [--family aot|deaot] [--frames 100,1000]

A synthetic video of 240 x 432 pixels, one object, a network of the published shape but for a small encoder, every fifth
frame remembered. Each measurement runs in a process of its own and includes reading frames and encoding masks. The cap
drops the oldest frame but the key frame; the published procedure never drops one. The cache of features is kept small,
so that it is full in the shortest video already.
"""

import argparse
import subprocess
import sys
from dataclasses import replace

SIZE = (240, 432)
CACHE = 128 * 2**20


def measure(family: str, frames: int, cap: int | None, threads: int) -> None:
    """Propagate the first frame's mask and print the peak and the resting memory in MiB."""
    import torch
    from aot_deaot.config import SWIN_TINY, named_config
    from aot_deaot.network import PropagationNetwork
    from aot_deaot.propagate import Propagator
    from aot_deaot.settings import corrected
    from long_videos import DrawnVideo, print_peak

    torch.set_num_threads(threads)
    config = replace(named_config(family, f"swinl_{family}l"), encoder=SWIN_TINY)
    settings = corrected(config)
    settings = replace(settings, scales=(1.0,), flip=False, memory=replace(settings.memory, long_term_cap=cap))
    torch.manual_seed(0)
    propagator = Propagator(PropagationNetwork(config).eval().requires_grad_(False), settings, cache_bytes=CACHE)
    print_peak(propagator, DrawnVideo(frames, SIZE), key_frame=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["aot", "deaot"], default="aot")
    parser.add_argument("--frames", default="100,1000")
    parser.add_argument("--cap", type=int, default=10, help="frames in long-term memory")
    parser.add_argument("--uncapped", action="store_true", help="also measure the published behaviour (slow)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        frames, cap = (int(value) for value in options.measure)
        measure(options.family, frames, cap or None, options.threads)
        return
    print(f"{'frames':>8s}{'cap':>6s}{'peak MiB':>10s}{'before MiB':>12s}{'ratio to first':>16s}")
    for cap in (options.cap, 0) if options.uncapped else (options.cap,):
        first = 0
        for frames in map(int, options.frames.split(",")):
            command = [sys.executable, __file__, "--family", options.family, "--threads", str(options.threads)]
            command += ["--measure", str(frames), str(cap)]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            highest, before = int(found[0]), int(found[1])
            first = first or highest
            print(f"{frames:8d}{cap or 'off':>6}{highest:10d}{before:12d}{highest / first:15.2f}x", flush=True)


if __name__ == "__main__":
    main()
