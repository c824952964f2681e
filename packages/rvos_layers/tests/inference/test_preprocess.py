"""Sizes and values of the frames that a network sees."""

import numpy as np
import pytest
import torch
from golden_cases import rounding
from hypothesis import given
from hypothesis import strategies as st
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import MEAN, STD, make_clip, normalise, resize_frame, resized


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((720, 1280), 640, (360, 640)),
        ((1280, 720), 640, (640, 360)),
        ((480, 854), 640, (360, 640)),
        ((480, 854), None, (360, 640)),
        ((360, 640), 640, (360, 640)),
        ((400, 1200), 640, (213, 639)),  # wide: the short side gives way, the long one is truncated
        ((400, 1200), None, (360, 1080)),
        ((100, 100), 640, (360, 360)),
    ],
)
def test_sizes(size, longest, expected):
    assert ResizeRule(short=360, longest=longest).size(size) == expected


@given(st.integers(16, 3000), st.integers(16, 3000))
def test_the_long_side_is_bounded_and_the_shape_kept(height, width):
    rule = ResizeRule(short=360, longest=640)
    new_height, new_width = rule.size((height, width))
    ratio = max(height, width) / min(height, width)
    assert max(new_height, new_width) <= 640 + ratio / 2  # as the short side is rounded before the long one is made
    assert (new_height <= new_width) == (height <= width) or new_height == new_width
    assert rule.size((width, height)) == (new_width, new_height)


def test_values_are_normalised_per_channel():
    frames = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), MEAN, STD, strict=True)]
    assert normalise(frames).shape == (1, 3, 1, 1)
    assert normalise(frames).flatten().tolist() == pytest.approx(expected, abs=rounding(expected))


def test_a_clip_is_its_frames_resized_and_normalised():
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8))
    clip = make_clip(list(resized(iter(frames), ResizeRule(short=40))))
    assert clip.shape == (1, 3, 3, 40, 56)
    for place, frame in enumerate(frames):
        expected = torch.from_numpy(resize_frame(frame, (40, 56)).copy())
        assert torch.equal(clip[0, place], normalise(expected))
