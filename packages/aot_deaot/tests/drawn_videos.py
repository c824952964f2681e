"""A small annotated data set: bright squares over noise; video b shows its second object late, video c has only one."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (32, 48)
FRAMES = 5
VIDEOS = ("a", "b", "c")


def labels_of(video: str) -> np.ndarray:
    """Object ids uint8 [T, H, W]."""
    labels = np.zeros((FRAMES, *SIZE), np.uint8)
    for t in range(FRAMES):
        labels[t, 4:16, 2 + 4 * t : 14 + 4 * t] = 1
        if video == "a" or (video == "b" and t >= 2):
            labels[t, 18:30, 34 - 4 * t : 46 - 4 * t] = 5
    return labels


def draw_split(root: Path, split: str) -> Path:
    """Write the videos of a split."""
    videos = {}
    for index, video in enumerate(VIDEOS):
        random = np.random.default_rng(index)
        names = [f"{5 * t:05d}" for t in range(FRAMES)]
        labels = labels_of(video)
        frames = random.integers(0, 80, (FRAMES, *SIZE, 3), dtype=np.uint8)
        frames[labels == 1] += np.array([150, 20, 20], np.uint8)
        frames[labels == 5] += np.array([20, 20, 150], np.uint8)
        for name, frame, own in zip(names, frames, labels, strict=True):
            for kind, image in (("JPEGImages", frame), ("Annotations", own)):
                path = root / split / kind / video / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
        expressions = {"0": {"exp": "red", "obj_id": "1"}, "1": {"exp": "blue", "obj_id": "5"}}
        if video == "c":
            del expressions["1"]
        videos[video] = {"frames": names, "expressions": expressions}
    path = root / "meta_expressions" / split / "meta_expressions.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"videos": videos}))
    return root
