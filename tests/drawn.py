"""A small data set, drawn: two videos with three expressions each, in the flat Ref-YouTube-VOS layout."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SENTENCES = {"0": "a red square moving right", "1": "the square", "2": "a blue disk on the left"}
OBJECTS = {"0": "1", "1": "1", "2": "2"}  # which of them each sentence means
FRAMES = ["00000", "00005", "00010"]
SIZE = (45, 64)


def draw_video(folder: Path, seed: int) -> None:
    """Three small frames with a moving square and a disk, as lossless files with the data set's JPEG names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 90, (*SIZE, 3))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for step, name in enumerate(FRAMES):
        frame = background.copy()
        frame[10:25, 5 + 9 * step : 20 + 9 * step] = (200, 40, 30)
        frame[(rows - 32) ** 2 + (columns - 12) ** 2 < 60] = (20, 60, 220)
        Image.fromarray(frame.astype(np.uint8)).save(folder / f"{name}.jpg", quality=95)


def draw_dataset(root: Path) -> Path:
    """Write `meta_expressions.json` and `JPEGImages`; returns `root`."""
    videos = {}
    for seed, video in enumerate(["aa11", "bb22"]):
        draw_video(root / "JPEGImages" / video, seed)
        videos[video] = {
            "expressions": {key: {"exp": text, "obj_id": OBJECTS[key]} for key, text in SENTENCES.items()},
            "frames": FRAMES,
        }
    (root / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    return root
