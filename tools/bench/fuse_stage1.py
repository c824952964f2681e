"""Time and memory of the first-stage votes against a plain numpy vote on float masks.

    uv run python tools/bench/fuse_stage1.py [--videos 50] [--frames 30] [--compared 4]

Five members, drawn: per video two objects with two expressions each, 30 frames of 720p, outlines about as long as
those of real masks. The command votes all videos in a process of its own, whose peak memory is read at its end. On a
few videos both ways are timed in turn, and must give the same masks:

    votes    both from members in memory to fused masks in memory
    files    both from the members' files (`.masks`; float32 `.npy`) to files of fused masks (`.masks`; bool `.npy`)
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fusion_core.recipe.published import ICCV2023
from fusion_core.voting.fuse import fuse_video
from fusion_core.voting.fused_run import FusedRun
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks

SIZE = (720, 1280)
OBJECTS = 2
MEMBERS = ("soc", "mutr", "referformer", "vit_huge", "convnext")
PROBABILITIES = ("vit_huge", "convnext")  # these store probabilities, the others logits


def draw_member(rng: np.random.Generator, path: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Masks bool [H, W] of an object as one member sees it: the shared outline, shifted and roughened."""
    shift, scale = rng.normal(0, 6, 2), rng.normal(1, 0.04)
    for outline in path:
        center = outline.mean(axis=0)
        rough = (outline - center) * scale + center + shift + rng.normal(0, 1.5, outline.shape)
        mask = np.zeros(SIZE, np.uint8)
        cv2.fillPoly(mask, [rough.round().astype(np.int32)], 1)
        for x, y in center + rng.normal(0, 120, (3, 2)):  # islands and holes
            cv2.circle(mask, (int(x), int(y)), int(rng.integers(2, 9)), int(rng.integers(2)), -1)
        yield mask.astype(bool)


def draw_object(rng: np.random.Generator, frames: int) -> list[np.ndarray]:
    """Outline [400, 2] (x, y) in each frame of a moving, wobbling blob."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    waves = np.arange(2, 12)
    phase, height = rng.uniform(0, 2 * np.pi, waves.shape), rng.normal(0, 0.25, waves.shape) / np.sqrt(waves)
    radius, start = rng.uniform(90, 220), rng.uniform((300, 220), (980, 500))
    speed = rng.normal(0, 4, 2)
    outlines = []
    for frame in range(frames):
        wobble = 1 + np.clip(
            (height[:, None] * np.sin(waves[:, None] * angle + phase[:, None] + 0.1 * frame)).sum(0), -0.6, 0.6
        )
        unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        outlines.append(start + speed * frame + radius * wobble[:, None] * unit)
    return outlines


def write_runs(folder: Path, videos: list[str], frames: int) -> None:
    """Draw every video for every member."""
    manifest = {"name": "drawn", "split": None, "fingerprint": "0" * 64}
    runs = [
        MaskRun.create(folder / member, RunManifest(producer="bench", producer_version="1", dataset=manifest))
        for member in MEMBERS
    ]
    for number, video in enumerate(videos):
        rng = np.random.default_rng(number)
        objects = [draw_object(rng, frames) for _ in range(OBJECTS)]
        for run in runs:
            tracks = tuple(
                MaskTrack.from_masks(
                    Expression(id=str(i)), draw_member(rng, objects[i // 2]), scores=rng.random(frames)
                )
                for i in range(2 * OBJECTS)
            )
            run.write(
                VideoMasks(
                    video=video, size=SIZE, frame_names=tuple(f"{5 * i:05}" for i in range(frames)), tracks=tracks
                )
            )


@dataclass
class Seconds:
    """Time spent on one video by one way."""

    votes: float = 0.0
    files: float = 0.0


def float_vote(runs: Path, video: str, scratch: Path) -> tuple[Seconds, dict[str, np.ndarray]]:
    """The plain way: its times, and its masks bool [E, T, H, W] of each fused set.

    Frame by frame, as arrays of a whole video would fill the memory. Files are read soon after they are written, so
    from the system's cache: a disk would only make them slower.
    """
    noise = np.random.default_rng(0).uniform(0.1, 8, SIZE).astype(np.float32)
    tracks = {member: MaskRun.open(runs / member).read(video).tracks for member in MEMBERS}
    frames = len(tracks[MEMBERS[0]][0])
    seconds, fused = Seconds(), {}
    for rule in ICCV2023.stage(1):
        result = fused[rule.name] = np.empty((2 * OBJECTS, frames, *SIZE), bool)
        for first, frame in itertools.product(range(0, 2 * OBJECTS, 2), range(frames)):
            files = []
            for member, track in itertools.product(rule.members, (first, first + 1)):
                logits = np.where(tracks[member][track].mask(frame), noise, -noise)
                files.append((member, scratch / f"{member}{track}.npy"))
                np.save(files[-1][1], sigmoid(logits) if member in PROBABILITIES else logits)
            start = time.perf_counter()
            maps = [(member, np.load(file)) for member, file in files]
            loaded = time.perf_counter()
            votes = np.zeros(SIZE, np.float32)
            for member, values in maps:
                probabilities = values if member in PROBABILITIES else sigmoid(values)
                votes += probabilities > 0.5
            result[first, frame] = result[first + 1, frame] = votes >= rule.threshold
            voted = time.perf_counter()
            for track in (first, first + 1):
                np.save(scratch / f"{track}.npy", result[track, frame])
            seconds.votes += voted - loaded
            seconds.files += time.perf_counter() - start
    return seconds, fused


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Elementwise, float32."""
    return 1 / (1 + np.exp(-x))


def run_length_vote(runs: Path, video: str, out: Path) -> tuple[Seconds, dict[str, VideoMasks]]:
    """This project's way: its times, and what it wrote."""
    seconds, fused = Seconds(), {}
    for rule in (vote.corrected() for vote in ICCV2023.stage(1)):
        members = [MaskRun.open(runs / member) for member in rule.members]
        fused_run = FusedRun(rule, members, out / rule.name)
        fused_run.start()
        os.sync()  # else this way's fsync waits for what the other one left to be written
        start = time.perf_counter()
        fused_run.fuse(video)
        seconds.files += time.perf_counter() - start
        in_memory = [member.read(video) for member in members]
        start = time.perf_counter()
        fuse_video(rule, in_memory)
        seconds.votes += time.perf_counter() - start
        fused[rule.name] = fused_run.run.read(video)
    return seconds, fused


def run_command(runs: Path) -> tuple[float, float]:
    """Wall seconds and peak MB of the command over all videos, in a process of its own."""
    code = (
        "from fusion_core.cli import app\n"
        f"app(['fuse', '--stage', '1', '--runs', {str(runs)!r}], standalone_mode=False)\n"
        "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout.splitlines()[-1]) / 1024


def main() -> None:
    """Draw, vote, compare, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--videos", type=int, default=50)
    arguments.add_argument("--frames", type=int, default=30)
    arguments.add_argument("--compared", type=int, default=10, help="videos on which both ways are timed")
    options = arguments.parse_args()
    videos = [f"video{number:03}" for number in range(options.videos)]
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        write_runs(runs, videos, options.frames)
        sizes = [file.stat().st_size for member in MEMBERS for file in (runs / member / "videos").iterdir()]
        wall, peak = run_command(runs)
        compared = videos[: options.compared]
        ours, floats = [], []
        for video in compared:
            seconds, fused = run_length_vote(runs, video, Path(folder) / "again")
            ours.append(seconds)
            seconds, expected = float_vote(runs, video, Path(folder))
            floats.append(seconds)
            for name, masks in expected.items():
                for track, drawn in zip(fused[name].tracks, masks, strict=True):
                    assert np.array_equal(track.stack(), drawn), f"{video}: {name}: the two votes differ"

    logits = len(sizes) * 2 * OBJECTS * options.frames * SIZE[0] * SIZE[1] * 4
    shape = f"{options.videos} videos x {2 * OBJECTS} expressions x {options.frames} frames of {SIZE[1]}x{SIZE[0]}"
    print(f"{shape}, five members")
    print(f"fuse --stage 1, all videos: {wall:.1f} s, peak memory {peak:.0f} MB")
    print(f".masks files: {sum(sizes) / 1e6:.1f} MB, 1/{logits / sum(sizes):.0f} of the same masks as float32 logits")
    print(f"seconds a video, median of {len(compared)}:")
    print("            run lengths  numpy floats  ratio")
    for what in ("votes", "files"):
        mine, plain = (statistics.median(getattr(seconds, what) for seconds in way) for way in (ours, floats))
        print(f"  {what:8}  {mine:11.4f}  {plain:12.4f}  {plain / mine:5.1f}")


if __name__ == "__main__":
    main()
