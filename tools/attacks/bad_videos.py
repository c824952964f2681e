"""One bad video of fifty, in ten kinds: the other 49 are done each time.

    uv run --package program-kit tools/attacks/bad_videos.py --videos 50

A program that takes the mean of a frame for its mask does a data set in which one video is broken. Prints how many
videos are done for each kind of fault; the exit code is 1 if a sound one is missing or the bad one is not named.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mask_interchange import MaskRun, MaskTrack, VideoMasks
from PIL import Image
from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app
from typer.testing import CliRunner

FRAMES = ("00000", "00005")


class Predictor:
    """Whatever is brighter than grey."""

    def predict(self, video, progress):
        masks = [frame.mean(axis=2) > 128 for frame in video.frames()]
        tracks = tuple(MaskTrack.from_masks(expression, masks) for expression in video.expressions)
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tracks)


def load(request: ModelRequest) -> Predictor:
    return Predictor()


APP = segmenter_app(
    SegmenterProgram(
        name="mean-infer",
        version="1",
        about="Bright things.",
        configs=("only",),
        tokenizer="none",
        error=ValueError,
        load=load,
        convert=lambda source, target, config: None,
    )
)


def replaced(make: Callable[[Path], object]) -> Callable[[Path, dict], None]:
    """A fault that puts something in the place of a frame."""

    def fault(folder: Path, entry: dict) -> None:
        frame = folder / f"{FRAMES[1]}.png"
        frame.unlink()
        make(frame)

    return fault


def described(**change: object) -> Callable[[Path, dict], None]:
    """A fault in the description of the video."""
    return lambda folder, entry: entry.update(change)


FAULTS: dict[str, Callable[[Path, dict], None]] = {
    "frame missing": replaced(lambda frame: None),
    "dangling link": replaced(lambda frame: frame.symlink_to("nowhere")),
    "link to itself": replaced(lambda frame: frame.symlink_to(frame)),
    "folder": replaced(lambda frame: frame.mkdir()),
    "pipe": replaced(lambda frame: os.mkfifo(frame)),
    "empty file": replaced(lambda frame: frame.touch()),
    "half a file": replaced(lambda frame: frame.write_bytes(picture(8)[:48])),
    "another size": replaced(lambda frame: frame.write_bytes(picture(9))),
    "blank expression": described(expressions={"0": {"exp": " "}}),
    "frames twice": described(frames=[FRAMES[0]] * 2),
}


def picture(width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((6, width, 3), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()


def attempt(fault: Callable[[Path, dict], None], videos: int) -> tuple[int, bool]:
    """How many sound videos are done, and whether the bad one is named as failed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        entries = {f"v{i:03d}": {"frames": [*FRAMES], "expressions": {"0": {"exp": "it"}}} for i in range(videos)}
        for name in entries:
            (images := root / "JPEGImages" / name).mkdir(parents=True)
            for frame in FRAMES:
                (images / f"{frame}.png").write_bytes(picture(8))
        bad = f"v{videos // 2:03d}"
        fault(root / "JPEGImages" / bad, entries[bad])
        (root / "meta_expressions.json").write_text(json.dumps({"videos": entries}))
        out = Path(folder) / "run"
        command = ["--dataset", str(root), "--out", str(out), "--weights", "random:0"]
        with contextlib.redirect_stderr(io.StringIO()):
            result = CliRunner().invoke(APP, command)
        done = MaskRun.open(out).videos() if out.exists() else []
        return len(set(done) - {bad}), result.exit_code == 1 and f"failed: {bad}" in result.output and bad not in done


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--videos", type=int, default=50)
    chosen = options.parse_args(arguments)
    good = True
    for name, fault in FAULTS.items():
        done, named = attempt(fault, chosen.videos)
        good &= named and done == chosen.videos - 1
        print(f"{name}: {done} of {chosen.videos - 1} sound videos done, {'the bad one named' if named else 'WRONG'}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
