"""Equal on every machine: hashes of videos, and the arithmetic behind them.

A change after which seeds give other videos raises EDITION; then `python tests/test_same_everywhere.py` writes new
hashes.
"""

import hashlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rvos_synthetic import EDITION, SPLIT_LENGTH, SPLITS, render_video
from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.units import TURN, UNIT, cosine, sine
from rvos_synthetic.video import seed_of

HASHES = Path(__file__).with_name("hashes.json")
CASES = [
    *((split, index, (96, 160), 12) for split in SPLITS for index in (0, 1, 2, 12345)),
    ("train", 3, (240, 426), 3),
    ("valid", 4, (480, 854), 1),
    ("test", SPLIT_LENGTH - 1, (61, 45), 5),
]


def hashes(split: str, index: int, size: tuple[int, int], frames: int) -> dict[str, str]:
    video = render_video(split, index, size=size, frames=frames)
    return {
        "frames": hashlib.sha256(video.frames.tobytes()).hexdigest(),
        "labels": hashlib.sha256(video.labels.tobytes()).hexdigest(),
        "expressions": [f"{e.label}: {e.text}" for e in video.expressions],
    }


def title(case: tuple) -> str:
    split, index, (height, width), frames = case
    return f"{split} {index}, {height}x{width}, {frames} frames"


@pytest.mark.parametrize("case", CASES, ids=title)
def test_videos_are_unchanged(case):
    stored = json.loads(HASHES.read_text())
    assert stored["edition"] == EDITION
    assert hashes(*case) == stored["videos"][title(case)]


def test_random_numbers_are_unchanged():
    random = RandomStream(1, 2, 3)
    assert [random.below(1000) for _ in range(5)] == json.loads(HASHES.read_text())["random_stream"]


def test_splits_and_videos_share_nothing():
    ranges = sorted((seed_of(split, 0), seed_of(split, SPLIT_LENGTH - 1)) for split in SPLITS)
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(ranges))
    seen = {hashlib.sha256(render_video(s, i, frames=1).frames.tobytes()).digest() for s in SPLITS for i in range(20)}
    assert len(seen) == 60


@pytest.mark.parametrize("angle", [0, 1, 511, 512, 1024, 2047, 2048, 3000, 4095, 4096, -700, 99999])
def test_sine_is_near_the_true_one(angle):
    true = 2 * math.pi * angle / TURN
    assert abs(sine(angle) / UNIT - math.sin(true)) < 0.003
    assert abs(cosine(angle) / UNIT - math.cos(true)) < 0.003


def test_random_numbers_are_uniform():
    random = RandomStream(7)
    counts = np.bincount([random.below(6) for _ in range(6000)], minlength=6)
    assert counts.min() > 850
    assert counts.max() < 1150
    assert {random.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert sorted(random.shuffled(range(9))) == list(range(9))
    values = np.bincount(RandomStream(8).bytes(100, 1001).ravel(), minlength=256)
    assert values.min() > 300
    assert values.max() < 490


def write_hashes() -> None:
    random = RandomStream(1, 2, 3)
    stored = {
        "edition": EDITION,
        "random_stream": [random.below(1000) for _ in range(5)],
        "videos": {title(case): hashes(*case) for case in CASES},
    }
    HASHES.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    write_hashes()
