"""Mask propagation: many masks of one clip together against each on its own.

    uv run --package aot-deaot python tools/bench/propagate_sharing.py [--family aot|deaot] [--frames 20]

4 mask runs x 4 expressions on one drawn clip of 480 x 854, flip and three scales, Swin-L's shapes with all widths cut
down. The baseline propagates each of the 16 masks alone, both ways. Two times are given: by the clock, and of the
processor, which other work on the machine disturbs less.

The bound is what sharing alone can give: a share s of the baseline (reading, resizing and encoding frames) does not
depend on masks, so N jobs cannot be faster than N / (s + N (1 - s)) times the baseline by encoding once. Two things go
beyond it: jobs of one key frame remember one image, so that the first layer's attention weights are computed once for
all of them, and jobs at the same frame share its short-term weights, whatever their key frame; and larger batches.
"""

import argparse
from typing import get_args

import torch
from aot_deaot import frame_views
from aot_deaot.config import SWIN_L, NetworkConfig, SwinShape
from aot_deaot.network import PropagationNetwork
from aot_deaot.propagate import Propagator
from aot_deaot.settings import corrected
from program_kit.options import Precision
from sharing import DrawnClip, TimedCache, compare, masks


def cut_down(family: str, width: int, depth: int) -> NetworkConfig:
    """Swin-L with its window and layers; `width` channels where it has 192, everything else in proportion."""
    share = width / SWIN_L.embed_dim
    heads = tuple(max(1, width // 8) * 2**stage for stage in range(3))
    dim = max(32, round(256 * share / 32) * 32)
    return NetworkConfig(
        family=family,
        encoder=SwinShape(embed_dim=width, depths=(2, 2, depth), num_heads=heads, window=SWIN_L.window),
        hidden_size=dim,
        num_heads=dim // 32,
        num_memory_heads=dim // 32,
        feedforward_dim=max(32, round(1024 * share / 32) * 32),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=["aot", "deaot"], default="aot")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage (Swin-L: 192)")
    parser.add_argument("--depth", type=int, default=6, help="blocks of the third stage (Swin-L: 18)")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--same-key-frame", action="store_true", help="all masks on the middle frame")
    parser.add_argument("--batches", default="1,4,16", help="object sets that go through the clip together")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default="strict")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    frame_views.FeatureCache = TimedCache
    config = cut_down(options.family, options.width, options.depth)
    torch.manual_seed(0)
    network = PropagationNetwork(config).eval().requires_grad_(False).to(options.device)
    settings = corrected(config)

    def propagate(clip, jobs, batch):
        return Propagator(network, settings, batch=batch, precision=options.precision).propagate(clip, jobs)

    clip = DrawnClip(options.frames)
    jobs = masks(clip, options.same_key_frame)
    least = 0.9999 if options.precision == "strict" else 0.99
    compare(propagate, clip, jobs, [int(batch) for batch in options.batches.split(",")], least=least)


if __name__ == "__main__":
    main()
