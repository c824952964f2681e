"""A small drawn data set: textured shapes that move over a background, with exact masks and sentences about them.

It comes in the flat Ref-YouTube-VOS layout with YouTube-VOS label images:

    ROOT/meta_expressions.json
    ROOT/JPEGImages/<video>/<frame>.jpg
    ROOT/Annotations/<video>/<frame>.png     palette, the label is the object's obj_id

Equal seeds draw equal pictures. Whoever has a better source of drawn videos only has to write the same layout.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

COLOURS = {
    "red": (205, 50, 45),
    "green": (50, 160, 70),
    "blue": (50, 90, 205),
    "yellow": (225, 195, 50),
    "purple": (140, 65, 165),
    "white": (230, 230, 230),
}
CORNERS = {"disk": 48, "triangle": 3, "square": 4, "hexagon": 6}
HEADINGS = {"right": 0.0, "down": 0.5 * np.pi, "left": np.pi, "up": 1.5 * np.pi}

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One moving object. Lengths are in pixels, angles in radians, times in frames.

    Attributes:
        colour: key of COLOURS.
        kind: key of CORNERS.
        heading: key of HEADINGS, the direction it moves in.
        radius: of the circle around it.
        middle: (x, y) half-way through the video.
        speed: along the heading.
        spin: turn per frame.
        stripes: distance between the stripes on it.
    """

    colour: str
    kind: str
    heading: str
    radius: float
    middle: tuple[float, float]
    speed: float
    spin: float
    stripes: float

    @classmethod
    def drawn_by_lot(
        cls, rng: np.random.Generator, colour: str, kind: str, column: float, size: tuple[int, int]
    ) -> Self:
        """Any shape of this colour and kind, about the share `column` of the width from the left."""
        height, width = size
        return cls(
            colour=colour,
            kind=kind,
            heading=str(rng.choice(list(HEADINGS))),
            radius=float(rng.uniform(0.13, 0.24) * height),
            middle=(float((column + rng.uniform(-0.1, 0.1)) * width), float(rng.uniform(0.3, 0.7) * height)),
            speed=float(rng.uniform(0.01, 0.022) * height),
            spin=float(rng.uniform(-0.08, 0.08)),
            stripes=float(rng.uniform(5, 11)),
        )

    @property
    def sentences(self) -> tuple[str, str]:
        """Two ways to refer to it."""
        return f"the {self.colour} {self.kind}", f"a {self.kind} in {self.colour} moving {self.heading}"

    def position(self, time: float) -> npt.NDArray[np.float64]:
        """Centre (x, y), `time` frames after the middle of the video."""
        angle = HEADINGS[self.heading]
        return np.array(self.middle) + self.speed * time * np.array([np.cos(angle), np.sin(angle)])

    def outline(self, time: float) -> npt.NDArray[np.float64]:
        """Corners [N, 2] as (x, y)."""
        corners = CORNERS[self.kind]
        angles = 2 * np.pi * np.arange(corners) / corners + self.spin * time
        return self.position(time) + self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def paint(self, time: float, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Its stripes as an RGB picture float32 [H, W, 3], 0 to 255; they move and turn with it."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        left, top = self.position(time)
        along = (x - left) * np.cos(self.spin * time) + (y - top) * np.sin(self.spin * time)
        light = 0.85 + 0.15 * np.sin(2 * np.pi * along / self.stripes)
        return (light[..., None] * np.array(COLOURS[self.colour])).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnVideo:
    """A scene of shapes; a later shape covers the earlier ones. Object `k` of the scene has the label `k + 1`."""

    shapes: tuple[Shape, ...]
    size: tuple[int, int]
    length: int
    seed: int

    def frames(self) -> Iterator[tuple[Picture, Picture]]:
        """Frames RGB uint8 [H, W, 3] with their label images uint8 [H, W]."""
        rng = np.random.default_rng(self.seed)
        backdrop = np.stack([smooth_noise(rng, self.size, cell=60) for _ in range(3)], axis=-1) * 12 + 120
        for t in range(self.length):
            time = t - self.length / 2
            picture = np.roll(backdrop, t // 2, axis=1)  # the background drifts
            labels = np.zeros(self.size, np.uint8)
            for label, shape in enumerate(self.shapes, start=1):
                cv2.fillPoly(labels, [np.rint(shape.outline(time)).astype(np.int32)], label)
                picture = np.where((labels == label)[..., None], shape.paint(time, self.size), picture)
            grain = rng.normal(0, 4, picture.shape)
            yield np.clip(picture + grain, 0, 255).astype(np.uint8), labels


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: int) -> npt.NDArray[np.float32]:
    """Noise [H, W] of zero mean and about unit variance whose bumps are `cell` pixels wide."""
    coarse = rng.standard_normal((size[0] // cell + 3, size[1] // cell + 3)).astype(np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def draw_dataset(
    root: Path, seed: int = 0, *, videos: int = 4, length: int = 16, size: tuple[int, int] = (180, 320)
) -> None:
    """Write a data set of `videos` videos with two or three objects each and two sentences per object.

    Args:
        root: a new folder.
        seed: equal seeds give equal data sets.
        videos: how many.
        length: frames per video; they are named 00000, 00005, ... as in Ref-YouTube-VOS.
        size: (height, width) in pixels.
    """
    rng = np.random.default_rng(seed)
    names = [f"{5 * t:05d}" for t in range(length)]
    meta = {}
    for number in range(videos):
        video = f"drawn{number:02d}"
        count = int(rng.integers(2, 4))
        colours, kinds = rng.permutation(list(COLOURS)), rng.permutation(list(CORNERS))
        shapes = tuple(
            Shape.drawn_by_lot(rng, str(colours[k]), str(kinds[k]), (k + 0.5) / count, size) for k in range(count)
        )
        scene = DrawnVideo(shapes=shapes, size=size, length=length, seed=int(rng.integers(2**31)))
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / video).mkdir(parents=True)
        for name, (picture, labels) in zip(names, scene.frames(), strict=True):
            Image.fromarray(picture).save(root / "JPEGImages" / video / f"{name}.jpg", quality=92)
            save_labels(root / "Annotations" / video / f"{name}.png", labels)
        expressions = [
            {"exp": sentence, "obj_id": str(label)}
            for label, shape in enumerate(shapes, start=1)
            for sentence in shape.sentences
        ]
        meta[video] = {"expressions": {str(k): e for k, e in enumerate(expressions)}, "frames": names}
    (root / "meta_expressions.json").write_text(json.dumps({"videos": meta}, indent=1))


def save_labels(path: Path, labels: Picture) -> None:
    """Save a label image as a palette PNG in which objects have the colours of this module."""
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, *(part for colour in COLOURS.values() for part in colour)])
    image.save(path)
