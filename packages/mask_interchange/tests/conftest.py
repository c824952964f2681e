"""Shared by this package's tests."""

import os
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskTrack, VideoMasks


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
