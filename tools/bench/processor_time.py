"""Processor time of one prediction on a CPU, of two or more checkouts in turn: does a change make anything slower?

    git worktree add ../before 651a80f && (cd ../before && UV_PROJECT_ENVIRONMENT=.venvs/soc uv sync --package soc)
    UV_PROJECT_ENVIRONMENT=.venvs/soc uv sync --package soc
    uv run python tools/bench/processor_time.py soc ../before/.venvs/soc/bin/python .venvs/soc/bin/python

Published sizes, random weights, one thread, frames of noise. The ratio is that of the best times, to the first one.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

CLIPS = {"soc": (8, 240, 426), "aot": (2, 120, 214), "uninext": (1, 240, 426)}  # frames, height, width
SENTENCES = ["the brown dog", "a dog that turns round"]


def write_clip(folder: Path, model: str) -> None:
    import numpy as np
    from PIL import Image

    frames, height, width = CLIPS[model]
    random = np.random.default_rng(0)
    for i in range(frames):
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{i:05d}.png")


def predict(model: str) -> float:
    """Seconds of this process for one prediction."""
    import numpy as np
    import torch
    from mask_interchange import open_video

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        write_clip(Path(name), model)
        (video,) = open_video(Path(name), SENTENCES).videos.values()
        if model == "aot":
            from aot_deaot import AOTPropagator

            labels = np.zeros(video.size, np.uint8)
            labels[40:90, 40:90], labels[60:100, 100:150] = 1, 2
            propagator = AOTPropagator.load(seed=0, device="cpu")
            start = time.process_time()
            propagator.propagate_labels(video, labels)
        else:
            if model == "soc":
                from soc import SOCPredictor

                predictor = SOCPredictor.load(seed=0, short_side=CLIPS[model][1], device="cpu")
            else:
                from uninext import UNINEXTPredictor

                predictor = UNINEXTPredictor.load(seed=0, device="cpu")
            start = time.process_time()
            predictor.predict(video)
        return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=CLIPS)
    parser.add_argument("pythons", nargs="*", help="interpreters of the environments to compare")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_intermixed_args()
    if not options.pythons:
        print(predict(options.model))
        return
    best = dict.fromkeys(options.pythons, float("inf"))
    for _ in range(options.rounds):
        for python in options.pythons:
            command = [python, __file__, options.model]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            best[python] = min(best[python], float(output.splitlines()[-1]))
    for python, seconds in best.items():
        print(f"{seconds:7.2f} s  {seconds / best[options.pythons[0]]:5.2f}  {python}")


if __name__ == "__main__":
    main()
