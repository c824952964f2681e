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
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from aot_deaot.config import SWIN_L, NetworkConfig, SwinShape
from aot_deaot.network import PropagationNetwork
from aot_deaot.propagate import Propagator
from aot_deaot.settings import corrected
from program_kit.frame_reading import FeatureCache
from program_kit.propagation import Job

SIZE = (480, 854)
RUNS, EXPRESSIONS = 4, 4


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


class DrawnClip:
    """A bright patch that wanders over noise."""

    size = SIZE

    def __init__(self, frames: int):
        rng = np.random.default_rng(0)
        self._noise = rng.integers(0, 120, (*SIZE, 3), dtype=np.uint8)
        self._frames = frames

    def __len__(self):
        return self._frames

    def read_frame(self, i):
        frame = np.roll(self._noise, 3 * i, axis=1).copy()
        frame[150:300, 100 + 10 * i : 300 + 10 * i] += 100
        return frame

    def frames(self, start=0):
        return (self.read_frame(i) for i in range(start, self._frames))


def masks(frames: int, same_key_frame: bool) -> list[Job]:
    """16 different masks; key frames as the best scores of different sentences would choose them, or all the same."""
    rng = np.random.default_rng(1)
    jobs = []
    for index in range(RUNS * EXPRESSIONS):
        labels = np.zeros(SIZE, np.uint8)
        labels[100 + 5 * index : 320, 80 + 20 * index : 500] = 1
        jobs.append(Job(frames // 2 if same_key_frame else int(rng.integers(frames)), labels))
    return jobs


@dataclass
class Stopwatch:
    """Seconds by the clock and of the processor; a part may be timed inside a whole."""

    clock: float = 0.0
    processor: float = 0.0

    @contextmanager
    def running(self):
        clock, processor = time.perf_counter(), time.process_time()
        yield
        self.clock += time.perf_counter() - clock
        self.processor += time.process_time() - processor


class TimedCache(FeatureCache):
    """Notes the time that goes into frames rather than masks."""

    watch = Stopwatch()

    def get(self, key, compute):
        def timed():
            with self.watch.running():
                return compute()

        return super().get(key, timed)


def run(network, settings, clip, jobs, batch, precision="float32"):
    """Numbers of every job and frame, and how long they took."""
    found = {}
    whole = Stopwatch()
    with whole.running():
        for result in Propagator(network, settings, batch=batch, precision=precision).propagate(clip, jobs):
            found[result.job, result.frame] = result.numbers
    return found, whole


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
    parser.add_argument("--precision", choices=["float32", "float16", "bfloat16"], default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    import aot_deaot.frame_views

    aot_deaot.frame_views.FeatureCache = TimedCache
    config = cut_down(options.family, options.width, options.depth)
    torch.manual_seed(0)
    network = PropagationNetwork(config).eval().requires_grad_(False).to(options.device)
    settings = corrected(config)
    clip, jobs = DrawnClip(options.frames), masks(options.frames, options.same_key_frame)
    run(network, replace(settings, scales=(1.0,), flip=False), DrawnClip(3), [replace_key(jobs[0], 0)], 1)  # warm-up

    TimedCache.watch = Stopwatch()
    alone, baseline = {}, Stopwatch()
    for index, job in enumerate(jobs):
        found, watch = run(network, settings, clip, [job], 1, options.precision)
        alone |= {(index, frame): numbers for (_, frame), numbers in found.items()}
        baseline.clock += watch.clock
        baseline.processor += watch.processor
    frames_time = TimedCache.watch
    count = len(jobs)
    bounds = {}
    for kind in ("clock", "processor"):
        share = getattr(frames_time, kind) / getattr(baseline, kind)
        bounds[kind] = count / (share + count * (1 - share))
        print(f"{kind:9s}  independent of masks: {share:6.1%}   bound of encoding once: {bounds[kind]:.2f}x")
    print(f"\n{'':24s}{'clock s':>9s}{'ratio':>8s}{'of bound':>10s}{'processor s':>13s}{'ratio':>8s}{'of bound':>10s}")
    row("each mask alone", baseline, baseline, bounds)
    for batch in map(int, options.batches.split(",")):
        found, watch = run(network, settings, clip, jobs, batch, options.precision)
        row(f"together, batch {batch}", watch, baseline, bounds)
        same = np.mean([np.mean(found[key] == alone[key]) for key in alone])
        assert found.keys() == alone.keys()
        least = 0.9999 if options.precision == "float32" else 0.99
        assert same > least, f"only {same:.6f} of the pixels are the same"


def replace_key(job: Job, key_frame: int) -> Job:
    return Job(key_frame, job.labels)


def row(name, watch, baseline, bounds):
    cells = []
    for kind in ("clock", "processor"):
        seconds, width = getattr(watch, kind), 9 if kind == "clock" else 13
        ratio = getattr(baseline, kind) / seconds
        cells.append(f"{seconds:{width}.1f}{ratio:7.2f}x{ratio / bounds[kind]:10.0%}")
    print(f"{name:24s}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
