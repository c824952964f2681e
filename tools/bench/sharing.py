"""What the benchmarks of sharing have in common: a clip, sixteen masks, and the comparison of together with alone.

The baseline propagates each mask alone, both ways. After each of them comes an equal part of the work together, so that
other work on the machine disturbs both alike. Two times are given: by the clock, and of the processor.

The bound is what sharing alone can give: a share s of the baseline (reading, resizing and encoding frames) does not
depend on masks, so N jobs cannot be faster than N / (s + N (1 - s)) times the baseline by encoding once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from program_kit.frame_reading import FeatureCache
from program_kit.propagator import Job, PropagatedFrame

RUNS, EXPRESSIONS = 4, 4


class DrawnClip:
    """A bright patch that wanders over noise."""

    def __init__(self, frames: int, size: tuple[int, int] = (480, 854)):
        rng = np.random.default_rng(0)
        self.size = size
        self._noise = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
        self._frames = frames

    def __len__(self):
        return self._frames

    def read_frame(self, i):
        frame = np.roll(self._noise, 3 * i, axis=1).copy()
        height, width = self.size
        left = (width // 9 + width // 85 * i) % width
        frame[height // 3 : height * 5 // 8, left : left + width // 4] += 100
        return frame

    def frames(self, start=0):
        return (self.read_frame(i) for i in range(start, self._frames))


def masks(clip: DrawnClip, same_key_frame: bool) -> list[Job]:
    """16 different masks; key frames as the best scores of different sentences would choose them, or all the same."""
    rng = np.random.default_rng(1)
    height, width = clip.size
    jobs = []
    for index in range(RUNS * EXPRESSIONS):
        labels = np.zeros(clip.size, np.uint8)
        top, left = height // 5 + height * index // 96, width // 10 + width * index // 43
        labels[top : height * 2 // 3, left : width * 3 // 5] = 1
        jobs.append(Job(len(clip) // 2 if same_key_frame else int(rng.integers(len(clip))), labels))
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


Propagate = Callable[[DrawnClip, Sequence[Job], int], Iterator[PropagatedFrame]]  # with a batch size
Masks = dict[tuple[int, int], np.ndarray]  # by job and frame


class Together:
    """All jobs at once, in as many parts as one likes."""

    def __init__(self, results: Iterator[PropagatedFrame]):
        self.watch = Stopwatch()
        self.masks: Masks = {}
        self._results = results

    def advance(self, results: int) -> None:
        """Work on until there are so many results."""
        with self.watch.running():
            for result in islice(self._results, results - len(self.masks)):
                self.masks[result.job, result.frame] = result.mask()


def compare(
    propagate: Propagate,
    clip: DrawnClip,
    jobs: Sequence[Job],
    batches: Sequence[int],
    *,
    least: float = 0.9999,
    alone: int | None = None,
    plain: Callable[[DrawnClip, Job], None] | None = None,
) -> None:
    """Print the times of all jobs together and of each alone.

    Args:
        propagate: gives the results of jobs on a clip; its features come from a `TimedCache`.
        clip: the video.
        jobs: the masks.
        batches: sizes to be tried; each job alone takes the first one.
        least: share of the pixels that must be the same together and alone.
        alone: how many of the jobs are run alone, evenly taken; their times stand for all. None for all of them.
        plain: runs a job in somebody else's way, as a second baseline.
    """
    warm_up = DrawnClip(3, clip.size), Job(0, jobs[0].labels)
    Together(propagate(warm_up[0], [warm_up[1]], batches[0])).advance(2)
    if plain is not None:
        plain(*warm_up)
    chosen = range(0, len(jobs), len(jobs) // (alone or len(jobs)))
    scale, results = len(jobs) / len(chosen), len(jobs) * (len(clip) - 1)
    frames, baseline, theirs = Stopwatch(), Stopwatch(), Stopwatch()
    together = {batch: Together(propagate(clip, jobs, batch)) for batch in batches}
    single: Masks = {}
    for turn, index in enumerate(chosen, start=1):
        TimedCache.watch = frames
        one = Together(propagate(clip, [jobs[index]], batches[0]))
        one.watch = baseline
        one.advance(results)
        single |= {(index, frame): mask for (_, frame), mask in one.masks.items()}
        TimedCache.watch = Stopwatch()
        for batch in batches:
            together[batch].advance(results * turn // len(chosen))
        if plain is not None:
            with theirs.running():
                plain(clip, jobs[index])

    bounds = {}
    for kind in ("clock", "processor"):
        share = getattr(frames, kind) / getattr(baseline, kind)
        bounds[kind] = len(jobs) / (share + len(jobs) * (1 - share))
        print(f"{kind:9s}  independent of masks: {share:6.1%}   bound of encoding once: {bounds[kind]:.2f}x")
    print(f"\n{'':24s}{'clock s':>9s}{'ratio':>8s}{'of bound':>10s}{'processor s':>13s}{'ratio':>8s}{'of bound':>10s}")
    if plain is not None:
        _row("plain calls", theirs, baseline, bounds, scale)
    _row("each mask alone", baseline, baseline, bounds, scale)
    for batch in batches:
        _row(f"together, batch {batch}", together[batch].watch, baseline, bounds, scale, times=1)
        assert len(together[batch].masks) == results
        same = np.mean([np.mean(together[batch].masks[key] == mask) for key, mask in single.items()])
        assert same > least, f"only {same:.6f} of the pixels are the same"


def _row(name, watch, baseline, bounds, scale, times=None):
    cells = []
    for kind in ("clock", "processor"):
        seconds, width = getattr(watch, kind) * (times or scale), 9 if kind == "clock" else 13
        ratio = scale * getattr(baseline, kind) / seconds
        cells.append(f"{seconds:{width}.1f}{ratio:7.2f}x{ratio / bounds[kind]:10.0%}")
    print(f"{name:24s}{''.join(cells)}", flush=True)
