"""A picture of synthetic videos for people: some frames of each, objects outlined, expressions below."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rvos_synthetic.dataset import LABEL_COLOURS
from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.video import DEFAULT_FRAMES, DEFAULT_SIZE, SyntheticVideo, render_video

SHOWN_FRAMES = 4
COLOURS = 80
LINE_HEIGHT = 12
GAP = 2
MOST_VIDEOS = 50


def write_sheet(
    path: Path, split: str, count: int, *, size: tuple[int, int] = DEFAULT_SIZE, frames: int = DEFAULT_FRAMES
) -> None:
    """Save a picture of videos 0 to count - 1 of a split as a small PNG file.

    Args:
        path: the file.
        split, size, frames: as `render_video`.
        count: how many videos, 1 to 50.

    Raises:
        SyntheticError: an argument is out of range.
    """
    if not 1 <= count <= MOST_VIDEOS:
        raise SyntheticError(f"videos: a sheet shows 1 to {MOST_VIDEOS} videos, found {count}")
    rows = [_row(render_video(split, index, size=size, frames=frames)) for index in range(count)]
    Image.fromarray(np.concatenate(rows)).quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def _row(video: SyntheticVideo) -> NDArray[np.uint8]:
    """Frames of a video side by side, every other one outlined, above its expressions."""
    count = len(video.frames)
    shown = sorted({k * (count - 1) // (SHOWN_FRAMES - 1) for k in range(SHOWN_FRAMES)})
    pictures = [_outlined(video.frames[t], video.labels[t]) if k % 2 else video.frames[t] for k, t in enumerate(shown)]
    strip = np.concatenate([np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for p in pictures], axis=1)
    return np.concatenate([strip, _captions(video, strip.shape[1])])


def _outlined(frame: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with the inner border of every object in its colour."""
    around = np.pad(labels, 1, mode="edge")
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    border = (labels != 0) & np.logical_or.reduce([labels != other for other in neighbours])
    return np.where(border[..., None], np.array(LABEL_COLOURS, np.uint8)[labels], frame)


def _captions(video: SyntheticVideo, width: int) -> NDArray[np.uint8]:
    """The expressions: one line for each object, in its colour."""
    objects = len(video.scene.objects)
    image = Image.new("RGB", (width, objects * LINE_HEIGHT + 2 * GAP), (38, 40, 46))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(10)
    for label in range(1, objects + 1):
        texts = " / ".join(e.text for e in video.expressions if e.label == label)
        pen.text((4, (label - 1) * LINE_HEIGHT), f"{label}  {texts}", LABEL_COLOURS[label], font)
    return np.asarray(image)
