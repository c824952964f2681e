"""Several expressions on one clip in one pass, against one pass an expression; and peak memory.

    uv run --package uninext python tools/bench/uninext_expressions.py [--backbone convnext-l] [--frames 3]

Random weights (they change neither time nor memory), synthetic frames of the published network size. What no expression
influences (reading, resizing, backbone, projections, the image's half of early fusion) is timed by itself: if it is
the share s of a pass with one expression, E expressions in one pass can be at most E / (s + E (1 - s)) times as fast as
E passes. Everything runs in a process of its own, so the peak memory is that of building the network and predicting.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def draw_clip(folder: Path, frames: int, size: tuple[int, int]) -> None:
    """PNG frames with a moving square on noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for t in range(frames):
        picture = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        picture[100:300, 50 + 20 * t : 250 + 20 * t] = (200, 40, 40)
        Image.fromarray(picture).save(folder / f"{t:05d}.png")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(backbone: str, folder: Path, expressions: int, repeats: int) -> dict[str, float]:
    """Time one pass with all expressions, one pass an expression, and the part that all share; medians of repeats."""
    from mask_interchange import open_video
    from uninext import UNINEXTPredictor

    predictor = UNINEXTPredictor.load(seed=0, config=backbone, device="cpu")
    network = predictor.network
    texts = [f"the {i}. red square that moves to the right" for i in range(expressions)]
    (whole,) = open_video(folder, texts).videos.values()
    single = [next(iter(open_video(folder, [text]).videos.values())) for text in texts]

    def shared() -> None:
        geometry = predictor.geometry(whole.size)
        for frame in whole.frames():
            network.encode_frame(predictor.preprocess.normalise(predictor.preprocess(frame)), geometry)

    import torch

    with torch.inference_mode():
        predictor.predict(whole)  # first calls allocate
        rows = [
            {
                "together": seconds(lambda: predictor.predict(whole)),
                "apart": sum(seconds(lambda video=video: predictor.predict(video)) for video in single),
                "shared": seconds(shared),
            }
            for _ in range(repeats)
        ]
    peak = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if not rows:
        return peak
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return median | peak | {"speedup": statistics.median(row["apart"] / row["together"] for row in rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="convnext-l")
    parser.add_argument("--expressions", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="0 measures memory only")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--clip", type=Path, help=argparse.SUPPRESS)  # set for the process that measures
    arguments = parser.parse_args()
    if arguments.clip:
        print(json.dumps(measure(arguments.backbone, arguments.clip, arguments.expressions, arguments.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        draw_clip(Path(folder), arguments.frames, tuple(arguments.size))
        child = [sys.executable, __file__, "--clip", folder, "--backbone", arguments.backbone]
        child += ["--expressions", str(arguments.expressions), "--repeats", str(arguments.repeats)]
        output = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout
    report(arguments, json.loads(output.splitlines()[-1]))


def report(arguments: argparse.Namespace, times: dict[str, float]) -> None:
    count = arguments.expressions
    height, width = arguments.size
    print(f"{arguments.backbone}, {arguments.frames} frames {height}x{width}, {count} expressions, CPU")
    if "speedup" in times:
        report_times(times, count)
    print(f"{'peak memory':34} {times['peak']:8.2f} GB")


def report_times(times: dict[str, float], count: int) -> None:
    share = times["shared"] / (times["apart"] / count)
    bound = count / (share + count * (1 - share))
    print(f"{'one pass for all':34} {times['together']:8.2f} s")
    print(f"{'one pass an expression':34} {times['apart']:8.2f} s")
    print(f"{'share that no expression influences':34} {share:8.1%}")
    print(f"{'bound implied by it':34} {bound:8.2f} x")
    print(f"{'reached':34} {times['speedup']:8.2f} x  ({times['speedup'] / bound:.0%} of the bound)")


if __name__ == "__main__":
    main()
