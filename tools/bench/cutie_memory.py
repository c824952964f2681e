"""Cutie on long videos: peak memory of the whole command, by the number of frames.

    uv run --package cutie python tools/bench/cutie_memory.py [--config tiny] [--frames 300,3000] [--long-term]

A synthetic video of 96 x 128 pixels, one object, its mask on the middle frame. Each measurement runs in a process of
its own and includes reading frames and encoding masks.
"""

import argparse
import resource
import subprocess
import sys

SIZE = (96, 128)


class DrawnVideo:
    """A square that goes round; frames are drawn when asked for."""

    size = SIZE

    def __init__(self, frames: int):
        self._frames = frames

    def __len__(self):
        return self._frames

    def read_frame(self, i):
        import numpy as np

        frame = np.full((*SIZE, 3), 60, np.uint8)
        x = 3 * i % (SIZE[1] - 40)
        frame[30:70, x : x + 40] = (220, 80, 40)
        return frame

    def frames(self, start=0):
        return (self.read_frame(i) for i in range(start, self._frames))


def measure(options: argparse.Namespace) -> None:
    """Propagate one mask and print the peak memory of this process, MiB, and its memory before the first frame."""
    import numpy as np
    import torch
    from cutie import CutiePropagator
    from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings
    from mask_interchange import encode_mask
    from program_kit.propagation import Job

    torch.set_num_threads(options.threads)
    settings = PropagationSettings(memory=MemoryPolicy(long_term=LongTerm() if options.long_term else None))
    propagator = CutiePropagator.load(seed=0, config=options.config, device="cpu", settings=settings)
    labels = np.zeros(SIZE, np.uint8)
    labels[30:70, 40:80] = 1
    before, frames = peak(), int(options.frames)
    found = propagator.propagate(DrawnVideo(frames), [Job(frames // 2, labels)])
    masks = {result.frame: encode_mask(result.mask()) for result in found}
    assert len(masks) == frames - 1
    print(peak(), before)


def peak() -> int:
    """Peak memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


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
