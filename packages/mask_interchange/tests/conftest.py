"""Shared by this package's tests."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data."""
    if not (folder := os.environ.get("RVOS_DATA")):
        pytest.skip("RVOS_DATA is not set: no real data here")
    return Path(folder)


@pytest.fixture
def masks() -> VideoMasks:
    """Two expressions in four frames, with everything that a file can hold."""
    rng = np.random.default_rng(7)
    shape = (4, 9, 13)
    full = MaskTrack.from_masks(
        Expression(id="0", text="a dog → running", group="2"),
        rng.random(shape) < 0.3,
        scores=[0.25, 0.75, 0.75, 0.5],
        support=rng.random(shape) < 0.9,
        soft=rng.integers(0, 256, (4, 3, 5), np.uint8),
    )
    bare = MaskTrack.from_masks(Expression(id="left one"), np.zeros(shape, bool))
    return VideoMasks(video="dog", size=(9, 13), frame_names=("00000", "00005", "00010", "00015"), tracks=(full, bare))


@pytest.fixture
def make_run() -> Callable[..., MaskRun]:
    """Makes a run of videos at a path."""

    def make(path: Path, *videos: VideoMasks) -> MaskRun:
        dataset = {"name": "d", "split": None, "fingerprint": "f"}
        run = MaskRun.create(path, RunManifest(producer="x", producer_version="1", dataset=dataset))
        for video in videos:
            run.write(video)
        return run

    return make


@pytest.fixture
def disjoint() -> Callable[..., VideoMasks]:
    """Makes a video of two objects side by side, the second absent in the second frame."""

    def make(ids: tuple[str, str] = ("3", "7")) -> VideoMasks:
        left, right = np.zeros((2, 4, 6), bool), np.zeros((2, 4, 6), bool)
        left[:, 1:3, :3] = True
        right[0, :, 4:] = True
        return VideoMasks(
            video="pair",
            size=(4, 6),
            frame_names=("00000", "00001"),
            tracks=tuple(
                MaskTrack.from_masks(Expression(id=i), m, key_frame=k)
                for i, m, k in zip(ids, (left, right), (1, None), strict=True)
            ),
        )

    return make
