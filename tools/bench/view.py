"""What the page of `fusion-core view` takes, against the budget of each step.

    uv run --package fusion-core --group test python tools/bench/view.py [--frames 250] [--size 1080x1920]

A video file of noise that moves, with one expression and two runs, is shown in a headless Chromium. A longer one than
ten seconds repeats them: `--frames 90000` is an hour. Times are medians of steps after the first; memory is that of
this process, which is the server, and of the page's JavaScript.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import av
import cv2
import numpy as np
import psutil
from fusion_core.view.clicks import Clicks
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.guard import Guard
from fusion_core.view.library import Library, open_runs
from fusion_core.view.propagation import Propagation
from fusion_core.view.routes import make_app
from fusion_core.view.server import ADDRESS, listening_at, server_of
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, encode_mask, open_video
from playwright.sync_api import Page, sync_playwright

STEPS = 20
REPEATED = 250  # frames after which the video begins again


def write_video(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Coarse noise that moves, so that frames are as hard to decode as photographs."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (size[0] // 16, size[1] // 16, 3), np.uint8)
    picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        packets = []
        for i in range(min(frames, REPEATED)):
            moved = np.roll(picture, (2 * i, 3 * i), axis=(0, 1))
            packets += stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24"))
        packets += stream.encode()
        for start in range(0, frames, REPEATED):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
                shift = round(start / 25 / packet.time_base)
                copy.pts, copy.dts = packet.pts + shift, packet.dts + shift
                container.mux(copy)


def write_runs(folder: Path, video: Path, frames: int, size: tuple[int, int]) -> None:
    """Two runs of a disc that moves."""
    dataset = open_video(video, ["a disc"])
    y, x = np.indices(size)
    for number, name in enumerate("ab"):
        radius = size[0] / 6 + number
        discs = ((x - 40 - 3 * i) ** 2 + (y - size[0] / 2) ** 2 < radius**2 for i in range(min(frames, REPEATED)))
        masks = [encode_mask(disc) for disc in discs]
        [expression] = dataset.videos[video.stem].expressions
        track = MaskTrack(expression=expression, size=size, masks=tuple(islice(cycle(masks), frames)))
        names = tuple(f"{i:05d}" for i in range(frames))
        manifest = RunManifest(producer="bench", producer_version="1", dataset=dataset.identity)
        run = MaskRun.create(folder / name, manifest)
        run.write(VideoMasks(video=video.stem, size=size, frame_names=names, tracks=(track,)))


def write_all(video: Path, runs: Path, frames: int, size: tuple[int, int]) -> None:
    write_video(video, frames, size)
    write_runs(runs, video, frames, size)


def median(what: str, budget: str, step: Callable[[int], object]) -> None:
    """Print how long a step takes, in the median."""
    times = []
    for k in range(STEPS + 1):
        start = time.perf_counter()
        step(k)
        times.append(1000 * (time.perf_counter() - start))
    print(f"{what:44} {statistics.median(times[1:]):8.1f} ms   budget {budget}")


def shown(page: Page, frame: int) -> None:
    page.wait_for_selector(f'#stage[data-frame="{frame}"]')


def measure(page: Page, address: str, library: Library, corrected: CorrectedRun, frames: int) -> None:
    start = time.perf_counter()
    page.goto(address)
    shown(page, 0)
    print(f"{'page to first frame':44} {1000 * (time.perf_counter() - start):8.1f} ms   budget 1000 (an hour: 2000)")
    page.wait_for_timeout(1000)  # the pictures around it are fetched
    steps = page.evaluate(
        """async () => {
            const stage = document.getElementById("stage"), times = [];
            for (let k = 0; k < 20; k++) {
                const shown = new Promise((done) => new MutationObserver((_, watcher) => {
                    watcher.disconnect();
                    done(performance.now());
                }).observe(stage, { attributeFilter: ["data-frame"] }));
                const start = performance.now();
                document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
                times.push(await shown - start);
                await new Promise((done) => setTimeout(done, 500)); // the next ones are fetched
            }
            return times;
        }"""
    )
    print(f"{'step to a picture fetched before, and its mask':44} {statistics.median(steps):8.1f} ms   budget 21")
    median("picture, decoded and in no cache", "80", lambda k: library.picture(0, 100 + k, None))
    median("picture, in the server's cache", "50", lambda k: library.picture(0, 100 + k, None))
    median("picture, jump", "300", lambda k: library.picture(0, (k * 7919) % frames, 640))
    moves = page.evaluate(
        """async () => {
            const { sweep } = await import("/assets/tools.js");
            const { width, height } = document.getElementById("mask"), mask = new Uint8Array(width * height);
            return [10, 40, 150].map((radius) => {
                const start = performance.now();
                for (let k = 0; k < 50; k++) sweep(mask, width, height, [300 + k, 300], [304 + k, 303], radius, 1);
                return (performance.now() - start) / 50;
            });
        }"""
    )
    for radius, took in zip((10, 40, 150), moves, strict=True):
        print(f"{f'brush move, radius {radius}':44} {took:8.2f} ms   budget 4")
    mask = corrected.mask(0, 0, 0)
    median(
        "stroke kept, with its sync to the disk",
        "100",
        lambda k: corrected.corrections(0).draw(0, 0, mask, corrected.corrections(0).frame_revision(0, 0)),
    )
    median("undo", "50", lambda k: corrected.corrections(0).undo())
    heap = page.evaluate("performance.memory.usedJSHeapSize")
    print(f"{'memory of the page, JavaScript':44} {heap / 1e6:8.0f} MB   budget 300 with pictures")
    print(f"{'memory of the server':44} {psutil.Process().memory_info().rss / 1e6:8.0f} MB   budget 512")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--size", default="1080x1920", metavar="HxW")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        video, runs = Path(folder) / "clip.mp4", Path(folder) / "runs"
        writing = get_context("spawn").Process(target=write_all, args=(video, runs, options.frames, (height, width)))
        writing.start()  # whose memory is not the server's
        writing.join()
        library = Library(dataset=open_video(video), runs=open_runs(runs), folder=runs)
        with CorrectedRun(library) as corrected, listening_at(0) as listening:
            app = make_app(corrected, Propagation(corrected, ()), Clicks(corrected, ()))
            guard = Guard(app, listening.getsockname()[1])
            server = server_of(guard)
            thread = Thread(target=lambda: server.run(sockets=[listening]))
            thread.start()
            library.prepare()  # as `serve` does before it opens the browser
            page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
            address = f"http://{ADDRESS}:{listening.getsockname()[1]}/?token={guard.token}"
            corrected.begin()
            try:
                measure(page, address, library, corrected, options.frames)
            finally:
                server.should_exit = True
                thread.join()


if __name__ == "__main__":
    main()
