"""Operators that a network calls for one clip: on a GPU each starts at least one kernel, and some make it wait.

    uv run --package soc python tools/bench/launches.py soc --frames 8 --size 360x640
    uv run --package aot-deaot python tools/bench/launches.py aot --frames 3 --size 480x854

Counted by torch's profiler on the processor, where operators are the same. Views start nothing and are not counted.
With `--gpu-gib` groups are as large as on a GPU with so much free memory; without, as on a processor.
"""

import argparse
import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

CLASSES = {
    "soc": ("soc.predict", "SOCPredictor"),
    "referformer": ("referformer.predict", "ReferFormerPredictor"),
    "mutr": ("mutr.predict", "MUTRPredictor"),
    "uninext": ("uninext.predict", "UNINEXTPredictor"),
    "aot": ("aot_deaot.predict", "AOTPropagator"),
    "deaot": ("aot_deaot.predict", "DeAOTPropagator"),
}
SENTENCES = [
    "a golden retriever walking in the grass",
    "a dog walking",
    "a dog with a ball",
    "a dog in search of a ball",
]
WAITS = {"nonzero", "_local_scalar_dense", "item", "is_nonzero", "equal", "unique2", "masked_select"}
COPIES = {"_to_copy", "copy_", "clone", "cat", "contiguous"}


class Counted(TorchDispatchMode):
    """Counts operators by name; those whose result shares the memory of an argument are views."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Video:
    """Noise; a `program_kit.propagation.Frames`."""

    def __init__(self, frames: int, size: tuple[int, int]) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 255, (frames, *size, 3), dtype=np.uint8)
        self.size = size

    def __len__(self) -> int:
        return len(self.pixels)

    def read_frame(self, i: int) -> np.ndarray:
        return self.pixels[i]

    def frames(self, start: int = 0) -> Iterator[np.ndarray]:
        return iter(self.pixels[start:])


def work(program: str, config: str | None, video: Video) -> Callable[[], object]:
    """What is counted: four sentences of a clip, or four masks of its first frame."""
    module, name = CLASSES[program]
    loaded = getattr(importlib.import_module(module), name).load(seed=0, config=config, device="cpu")
    if program not in ("aot", "deaot"):
        return lambda: loaded.segment(video.pixels, SENTENCES)
    from program_kit.propagation import Job

    height, width = video.size
    jobs = [Job(0, np.roll(np.eye(height, width, dtype=np.uint8), 9 * i, axis=1)) for i in range(4)]
    return lambda: list(loaded.propagate(video, jobs))


def as_on_gpu(gib: float) -> None:
    """Groups of the sizes that a GPU with so much free memory has."""
    from program_kit.torch import memory

    share = int(gib * 2**30 * memory.GPU_SHARE)
    memory.group_bytes = lambda device: share  # pyright: ignore[reportAttributeAccessIssue]
    for module, kind, name in (
        ("aot_deaot.propagate", "Propagator", "_frames_at_once"),
        ("uninext.predict", "UNINEXTPredictor", "frames_at_once"),
    ):
        try:
            owner = getattr(importlib.import_module(module), kind)
        except ImportError:
            continue
        setattr(owner, name, lambda *_: 8)


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=list(CLASSES))
    parser.add_argument("--config")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="360x640")
    parser.add_argument("--gpu-gib", type=float)
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    if options.gpu_gib is not None:
        as_on_gpu(options.gpu_gib)
    once = work(options.program, options.config, Video(options.frames, (height, width)))
    with Counted() as counted:
        once()
    calls = counted.calls
    print(
        f"{options.program}, {options.frames} frames of {options.size}: {sum(calls.values())} operators, "
        f"{sum(calls[name] for name in WAITS)} that wait, {sum(calls[name] for name in COPIES)} copies"
    )
    print(", ".join(f"{name} {count}" for name, count in calls.most_common(20)))


if __name__ == "__main__":
    main()
