"""Pictures of the README, from synthetic videos: an overlay, and the report of a demo.

uv run python tools/pictures.py overlay
uv run fusion-core demo && uv run python tools/pictures.py report work/demo/report.html
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from fusion_core.rendering.colours import colours
from fusion_core.rendering.legend import make_legend
from fusion_core.rendering.overlay import lay_over
from PIL import Image
from rvos_synthetic import render_video

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIZE, SHOWN = (216, 360), (4, 7, 10)  # pixels of a frame; frames beside each other
WINDOW = "1300,900"


def overlay(index: int) -> Path:
    """Frames of a synthetic video under its true masks, as `export --format overlay` draws them."""
    video = render_video("test", index, size=SIZE)
    expressions = {one.label: one.text for one in video.expressions}  # one for each object
    palette = colours(len(expressions))
    legend = make_legend(list(zip(expressions.values(), palette, strict=True)), SIZE)
    frames = []
    for t in SHOWN:
        masks = ((video.labels[t] == label, colour) for label, colour in zip(expressions, palette, strict=True))
        frame = lay_over(video.frames[t], masks)
        legend.lay_over(frame)
        frames.append(frame)
    return _save(np.concatenate(frames, axis=1), "overlay.png")


def report(page: Path) -> Path:
    """The first screen of a report, as Chromium shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("pictures: error: there is no Chromium on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WINDOW}", f"--screenshot={shot}"]
        subprocess.run([browser, *options, page.absolute().as_uri()], check=True, capture_output=True)
        return _save(np.asarray(Image.open(shot).convert("RGB")), "report.png")


def _save(pixels: np.ndarray, name: str) -> Path:
    """Write a small PNG of 256 colours."""
    path = PICTURES / name
    Image.fromarray(pixels).quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pictures = parser.add_subparsers(required=True)
    drawn = pictures.add_parser("overlay")
    drawn.add_argument("--video", type=int, default=12, help="number of the synthetic video")
    drawn.set_defaults(make=lambda options: overlay(options.video))
    photographed = pictures.add_parser("report")
    photographed.add_argument("page", type=Path)
    photographed.set_defaults(make=lambda options: report(options.page))
    options = parser.parse_args()
    print(options.make(options))


if __name__ == "__main__":
    main()
