"""Time and memory of `fusion-core fuse --stage 1` against a plain numpy vote on the float masks.

    uv run python tools/bench/fuse_stage1.py [--videos 50] [--compared 4]

Five members, drawn: per video two objects with two expressions each, 30 frames of 720p, outlines as rough as those of a
network. All videos are voted by the command in a process of its own, whose peak memory is read at its end. On a few of
them both ways are timed in turn: ours from the members' files to the fused files; the float vote from arrays that are
already in memory to arrays in memory, so reading and writing count against us only. Both must give the same masks.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from fusion_core.fusion import Fusion
from fusion_core.recipe import ICCV2023, Pairing
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks

SIZE = (720, 1280)
FRAMES = 30
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


def draw_object(rng: np.random.Generator) -> list[np.ndarray]:
    """Outline [400, 2] (x, y) in each frame of a moving, wobbling blob."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    waves = np.arange(2, 12)
    phase, height = rng.uniform(0, 2 * np.pi, waves.shape), rng.normal(0, 0.25, waves.shape) / np.sqrt(waves)
    radius, start = rng.uniform(90, 220), rng.uniform((300, 220), (980, 500))
    speed = rng.normal(0, 4, 2)
    outlines = []
    for frame in range(FRAMES):
        wobble = 1 + np.clip(
            (height[:, None] * np.sin(waves[:, None] * angle + phase[:, None] + 0.1 * frame)).sum(0), -0.6, 0.6
        )
        unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        outlines.append(start + speed * frame + radius * wobble[:, None] * unit)
    return outlines


def write_runs(folder: Path, videos: list[str]) -> None:
    """Draw every video for every member."""
    manifest = {"name": "drawn", "split": None, "fingerprint": "0" * 64}
    runs = [
        MaskRun.create(folder / member, RunManifest(producer="bench", producer_version="1", dataset=manifest))
        for member in MEMBERS
    ]
    for number, video in enumerate(videos):
        rng = np.random.default_rng(number)
        objects = [draw_object(rng) for _ in range(OBJECTS)]
        for run in runs:
            tracks = tuple(
                MaskTrack.from_masks(
                    Expression(id=str(i)), draw_member(rng, objects[i // 2]), scores=rng.random(FRAMES)
                )
                for i in range(2 * OBJECTS)
            )
            run.write(
                VideoMasks(
                    video=video, size=SIZE, frame_names=tuple(f"{5 * i:05}" for i in range(FRAMES)), tracks=tracks
                )
            )


def float_vote(runs: Path, video: str) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds of the plain vote, and its masks bool [E, T, H, W] of each fused set."""
    noise = np.random.default_rng(0).uniform(0.1, 8, SIZE).astype(np.float32)
    tracks = {member: MaskRun.open(runs / member).read(video).tracks for member in MEMBERS}
    seconds, fused = 0.0, {}
    for rule in ICCV2023.stage(1):
        result = fused[rule.name] = np.empty((2 * OBJECTS, FRAMES, *SIZE), bool)
        for first in range(0, 2 * OBJECTS, 2):
            for frame in range(FRAMES):
                maps = []
                for member in rule.members:
                    for track in tracks[member][first : first + 2]:
                        logits = np.where(track.mask(frame), noise, -noise)
                        maps.append((member, sigmoid(logits) if member in PROBABILITIES else logits))
                start = time.perf_counter()
                votes = np.zeros(SIZE, np.float32)
                for member, values in maps:
                    probabilities = values if member in PROBABILITIES else sigmoid(values)
                    votes += probabilities > 0.5
                result[first, frame] = result[first + 1, frame] = votes >= rule.threshold
                seconds += time.perf_counter() - start
    return seconds, fused


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Elementwise, float32."""
    return 1 / (1 + np.exp(-x))


def run_vote(runs: Path, out: Path, video: str) -> tuple[float, dict[str, Path]]:
    """Seconds of our vote from files to files, and the fused runs."""
    seconds = 0.0
    for rule in ICCV2023.stage(1):
        members = [MaskRun.open(runs / member) for member in rule.members]
        fusion = Fusion(rule, members, out / rule.name, Pairing.CONSECUTIVE, faithful=False)
        start = time.perf_counter()
        fusion.fuse(video)
        seconds += time.perf_counter() - start
    return seconds, {rule.name: out / rule.name for rule in ICCV2023.stage(1)}


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
    arguments.add_argument("--compared", type=int, default=4, help="videos on which both ways are timed")
    options = arguments.parse_args()
    videos = [f"video{number:03}" for number in range(options.videos)]
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        write_runs(runs, videos)
        sizes = [file.stat().st_size for member in MEMBERS for file in (runs / member / "videos").iterdir()]
        wall, peak = run_command(runs)
        ours = floats = 0.0
        for video in videos[: options.compared]:
            seconds, written = run_vote(runs, Path(folder) / "again", video)
            ours += seconds
            seconds, expected = float_vote(runs, video)
            floats += seconds
            for name, masks in expected.items():
                for track, drawn in zip(MaskRun.open(written[name]).read(video).tracks, masks, strict=True):
                    assert np.array_equal(track.stack(), drawn), f"{video}: {name}: the two votes differ"
    compared = min(options.compared, options.videos)
    logits = len(sizes) * 2 * OBJECTS * FRAMES * SIZE[0] * SIZE[1] * 4
    print(
        f"fuse --stage 1: {options.videos} videos x {2 * OBJECTS} expressions x {FRAMES} frames of {SIZE[1]}x{SIZE[0]}"
    )
    print(f"  whole command                {wall:8.2f} s   peak memory {peak:.0f} MB")
    print(
        f"  per video, this vote         {ours / compared:8.4f} s   read, voted and written; mean of {compared} videos"
    )
    print(f"  per video, numpy float vote  {floats / compared:8.4f} s   arrays in memory; same videos, in turn")
    print(f"  ratio                        {floats / ours:8.1f}")
    print(f"  .masks files                 {sum(sizes) / 1e6:8.1f} MB  1/{logits / sum(sizes):.0f} of float32 logits")


if __name__ == "__main__":
    main()
