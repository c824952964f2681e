"""Cutie: many masks of one clip together against each on its own.

    uv run --package cutie python tools/bench/cutie_sharing.py [--config base] [--frames 8] [--size 240x432]

4 mask runs x 4 expressions on one drawn clip, published shapes, random weights; the baseline and the bound are those of
`sharing.py`. Masks of one key frame go beyond the bound: which remembered pixels are read is decided once for them.
"""

import argparse

import torch
from cutie import CutiePropagator, propagate
from cutie.config import CONFIGS
from sharing import DrawnClip, TimedCache, compare, masks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="base")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="240x432", help="height x width")
    parser.add_argument("--same-key-frame", action="store_true", help="all masks on the middle frame")
    parser.add_argument("--alone", type=int, default=16, help="masks that are also run alone")
    parser.add_argument("--batches", default="64", help="objects that go through the clip together")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    propagate.FeatureCache = TimedCache
    propagator = CutiePropagator.load(seed=0, config=options.config, device=options.device)

    def run(clip, jobs, batch):
        propagator.batch = batch
        return propagator.propagate(clip, jobs)

    height, width = map(int, options.size.split("x"))
    clip = DrawnClip(options.frames, (height, width))
    jobs = masks(clip, options.same_key_frame)
    compare(run, clip, jobs, [int(batch) for batch in options.batches.split(",")], alone=options.alone)


if __name__ == "__main__":
    main()
