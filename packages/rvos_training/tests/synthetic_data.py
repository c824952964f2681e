"""A small data set in the Ref-YouTube-VOS layout: two coloured squares that move over noise."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
COLOURS = {1: (220, 40, 40), 2: (40, 60, 220)}
SENTENCES = {1: "The red  square on the left", 2: "the blue square"}


def write_split(root: Path, split: str, videos: dict[str, int], hidden: dict[str, set[int]] | None = None) -> None:
    """Write synthetic videos (name -> frames); object 2 is not seen in the `hidden` frames of a video."""
    meta = {}
    for number, (video, length) in enumerate(videos.items()):
        random = np.random.default_rng(number)
        names = [f"{frame * 5:05d}" for frame in range(length)]
        for frame, name in enumerate(names):
            picture = random.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            for label, colour in COLOURS.items():
                if label == 2 and frame in (hidden or {}).get(video, set()):
                    continue
                top, left = 4 + 2 * frame % 20, 4 + 28 * (label - 1) + number
                labels[top : top + 16, left : left + 16] = label
                picture[labels == label] = colour
            _save(Image.fromarray(picture), root / split / "JPEGImages" / video / f"{name}.jpg")
            _save(Image.fromarray(labels, mode="L"), root / split / "Annotations" / video / f"{name}.png")
        expressions = {str(i): {"exp": SENTENCES[label], "obj_id": str(label)} for i, label in enumerate(COLOURS)}
        meta[video] = {"frames": names, "expressions": expressions}
    file = root / "meta_expressions" / split / "meta_expressions.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"videos": meta}))


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
