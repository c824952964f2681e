"""Size and opening time of a report on many videos.

    uv run --package fusion-core --group test python tools/bench/report.py [--videos 50] [--frames 30] [--opened 5]
    uv run --package fusion-core --group test python tools/bench/report.py --keep FILE
    uv run --package fusion-core --group test python tools/bench/report.py --page FILE     # only open one that was kept

Every run of the published recipe, drawn: 50 videos of 720p with 30 frames and two objects of two expressions each,
outlines about as long as those of real masks, pictures of noise in several sizes, most of it coarse as in photographs.
The votes are counted. The page is opened in a headless Chromium, started anew every time; "seen" is when the first
frame with its masks is on the screen, "complete" when the whole file is read.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from fuse_stage1 import SIZE, draw_member, draw_object
from fusion_core.cli import app
from fusion_core.recipe.nodes import Vote
from fusion_core.recipe.published import ICCV2023
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks
from playwright.sync_api import sync_playwright

OBJECTS = 2


def picture(rng: np.random.Generator) -> np.ndarray:
    """A picture uint8 [H, W, 3] of noise in several sizes: more is in the coarse ones, as in photographs."""
    total = np.zeros((*SIZE, 3), np.float32)
    for level in range(1, 8):
        coarse = rng.normal(0, 1, (SIZE[0] >> level, SIZE[1] >> level, 3)).astype(np.float32)
        total += 2.0 ** (level - 1) * cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + total * 0.6, 0, 255).astype(np.uint8)


def write_dataset(root: Path, videos: list[str], frames: int) -> list[str]:
    """Frames and sentences; returns the frames' names."""
    names = [f"{5 * t:05}" for t in range(frames)]
    expressions = {str(i): {"exp": f"sentence {i} about object {i // 2}"} for i in range(2 * OBJECTS)}
    meta = {"videos": {video: {"expressions": expressions, "frames": names} for video in videos}}
    root.mkdir()
    (root / "meta_expressions.json").write_text(json.dumps(meta))
    for number, video in enumerate(videos):
        folder = root / "JPEGImages" / video
        folder.mkdir(parents=True)
        scene = picture(np.random.default_rng(number))
        for t, name in enumerate(names):
            cv2.imwrite(str(folder / f"{name}.jpg"), np.roll(scene, (3 * t, 5 * t), axis=(0, 1)))
    return names


def write_runs(folder: Path, videos: list[str], names: list[str]) -> None:
    """Every run that is not voted, then the votes."""
    manifest = RunManifest(
        producer="bench", producer_version="1", dataset={"name": "drawn", "split": None, "fingerprint": None}
    )
    made = [node.name for node in ICCV2023.nodes if not isinstance(node, Vote)]
    runs = [MaskRun.create(folder / name, manifest) for name in made]
    for number, video in enumerate(videos):
        rng = np.random.default_rng(number)
        objects = [draw_object(rng, len(names)) for _ in range(OBJECTS)]
        for run in runs:
            tracks = tuple(
                MaskTrack.from_masks(
                    Expression(id=str(i)), draw_member(rng, objects[i // 2]), scores=rng.random(len(names))
                )
                for i in range(2 * OBJECTS)
            )
            run.write(VideoMasks(video=video, size=SIZE, frame_names=tuple(names), tracks=tracks))
    for stage in ("1", "2"):
        app(["fuse", "--stage", stage, "--runs", str(folder)], standalone_mode=False)


def make_page(root: Path, count: int, frames: int) -> Path:
    """Draw everything and write the report; prints what that took."""
    videos = [f"video{number:03}" for number in range(count)]
    write_runs(root / "runs", videos, write_dataset(root / "dataset", videos, frames))
    page = root / "report.html"
    start, busy = time.perf_counter(), time.process_time()
    code = app(
        ["report", "--runs", str(root / "runs"), "--dataset", str(root / "dataset"), "--out", str(page)],
        standalone_mode=False,
    )
    if code:
        sys.exit(code)
    took, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"written in {took:.1f} s ({busy:.1f} s of one core), {page.stat().st_size / 1e6:.1f} MB")
    return page


def opening_times(page: Path, times: int) -> list[tuple[float, float]]:
    """Seconds until the first frame is seen, and until the file is read."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 1300, "height": 900})
            tab.add_init_script(
                """addEventListener("DOMContentLoaded", () => { window.complete = performance.now(); });
                const look = () => {
                    if (document.querySelector("#where")?.textContent) requestAnimationFrame(() => {
                        window.seen = performance.now();
                    });
                    else requestAnimationFrame(look);
                };
                look();"""
            )
            tab.goto(page.as_uri())
            while not all(times_now := tab.evaluate("[window.seen, window.complete]")):
                time.sleep(0.05)
            seen, complete = times_now
            found.append((seen / 1000, complete / 1000))
            browser.close()
    return found


def main() -> None:
    """Draw, write the report, open it, print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--videos", type=int, default=50)
    arguments.add_argument("--frames", type=int, default=30)
    arguments.add_argument("--opened", type=int, default=5, help="times that the page is opened; 0: no browser")
    arguments.add_argument("--keep", type=Path, help="where to leave the page")
    arguments.add_argument("--page", type=Path, help="open this page instead of making one")
    options = arguments.parse_args()
    if options.page:
        times = opening_times(options.page.absolute(), options.opened)
    else:
        with tempfile.TemporaryDirectory() as folder:
            page = make_page(Path(folder), options.videos, options.frames)
            times = opening_times(page, options.opened)
            if options.keep:
                shutil.copy(page, options.keep)
    for what, seconds in zip(("seen", "complete"), zip(*times, strict=True), strict=False):
        print(f"{what:8}  median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
