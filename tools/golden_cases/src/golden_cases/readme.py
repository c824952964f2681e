"""Runs the Python code of a README, so that what a reader copies works."""

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import av
import numpy as np

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_readme(readme: Path, folder: Path) -> dict[str, Any]:
    """Run all Python blocks of a README, one after the other, as a reader would.

    Args:
        readme: the file.
        folder: where the code runs, with the files that it reads (see `write_clip`).

    Returns:
        the variables at the end.

    Raises:
        ValueError: the README has no Python block.
    """
    text = readme.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        raise ValueError(f"{readme}: has no block ```python")
    variables: dict[str, Any] = {"__name__": "readme"}
    with chdir(folder):
        for block in blocks:
            lines_before = "\n" * text.count("\n", 0, block.start(1))  # so that a traceback points into the README
            exec(compile(lines_before + block[1], readme, "exec"), variables)
    return variables


def write_clip(path: Path, frames: int = 4, size: tuple[int, int] = (48, 64)) -> None:
    """Write a video: a bright square that moves to the right.

    Args:
        path: the file, `*.mp4`.
        frames: how many.
        size: (height, width) in pixels, both even.
    """
    height, width = size
    side = height // 3
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            picture = np.full((height, width, 3), 40, np.uint8)
            left = number * (width - side) // max(1, frames - 1)
            picture[side : 2 * side, left : left + side] = (200, 150, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
