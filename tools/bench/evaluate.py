"""Time of F per frame: `rvos_evaluation.metrics` against the definition carried out on whole images.

    uv run --package fusion-core python tools/bench/evaluate.py [--data DAVIS16_EVAL] [--repeat 5]

The baseline finds both boundary maps on the whole image and dilates each with a disk. Both give the same numbers, which
is checked on every pair. With `--data` (a folder with Annotations/ and predictions_stm/) the masks are real 480p ones,
also enlarged; without it they are drawn.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rvos_evaluation.metrics import contour_accuracy, tolerance_in_pixels

SIZES = {"480p": (480, 854), "720p": (720, 1280), "1080p": (1080, 1920)}


def direct(truth, prediction):
    """F as the definition reads."""
    radius = tolerance_in_pixels(truth.shape)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y * y + x * x <= radius * radius).astype(np.uint8)
    lines = [whole_boundary(mask) for mask in (truth, prediction)]
    if not all(line.any() for line in lines):
        return float(lines[0].any() == lines[1].any())
    near = [cv2.dilate(line.astype(np.uint8), disk).astype(bool) for line in lines]
    recall, precision = (lines[0] & near[1]).sum() / lines[0].sum(), (lines[1] & near[0]).sum() / lines[1].sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def whole_boundary(mask):
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])


def real_pairs(folder, size):
    pairs = []
    for video in sorted((folder / "Annotations").iterdir()):
        truth = sorted(video.glob("*.png"))[10]
        prediction = folder / "predictions_stm" / video.name / truth.name
        pairs.append(tuple(enlarged(np.asarray(Image.open(path)) > 0, size) for path in (truth, prediction)))
    return pairs


def drawn_pairs(size, count=12):
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(count):
        labels = np.zeros(size, np.uint8)
        centre = (int(rng.uniform(0.2, 0.8) * size[1]), int(rng.uniform(0.2, 0.8) * size[0]))
        axes = (int(rng.uniform(0.05, 0.3) * size[0]), int(rng.uniform(0.05, 0.3) * size[0]))
        cv2.ellipse(labels, centre, axes, rng.uniform(0, 180), 0, 360, 1, thickness=-1)
        truth = labels > 0
        pairs.append((truth, roughened(truth, 0.004 * size[0], rng)))
    return pairs


def roughened(mask, pixels, rng):
    """The mask with its boundary moved in and out by smooth noise, `pixels` far (one standard deviation)."""
    coarse = rng.standard_normal([side // 12 + 3 for side in mask.shape]).astype(np.float32)
    noise = cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in (mask, ~mask)
    )
    return inside - outside + pixels * noise > 0


def enlarged(mask, size):
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


def milliseconds(measure, pairs, repeat):
    """Best of `repeat` passes, per pair."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        for pair in pairs:
            measure(*pair)
        best = min(best, time.perf_counter() - start)
    return 1000 * best / len(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with Annotations/ and predictions_stm/")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    cases = {}
    for name, size in SIZES.items():
        cases[name] = real_pairs(options.data, size) if options.data else drawn_pairs(size)
    empty = np.zeros(SIZES["720p"], bool)
    cases["720p, truth empty"] = [(empty, prediction) for _, prediction in cases["720p"]]
    print(f"{'masks':20} {'pairs':>5} {'direct ms':>10} {'ours ms':>9} {'ratio':>6}")
    for name, pairs in cases.items():
        assert all(abs(direct(*pair) - contour_accuracy(*pair)) <= 1e-12 for pair in pairs), name
        slow, fast = (milliseconds(measure, pairs, options.repeat) for measure in (direct, contour_accuracy))
        print(f"{name:20} {len(pairs):5} {slow:10.2f} {fast:9.2f} {slow / fast:5.1f}x")


if __name__ == "__main__":
    main()
