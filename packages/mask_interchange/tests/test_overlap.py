"""Overlaps on run lengths against overlaps of images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import Expression, MaskTrack
from mask_interchange.overlap import frame_ious, overlap, track_iou


@st.composite
def two_tracks(draw):
    """bool [T, H, W] of two tracks of one size, often empty, full, or alike."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
    masks = arrays(bool, shape, elements=st.booleans(), fill=st.booleans())
    return draw(masks), draw(masks)


def run_lengths(masks):
    return MaskTrack.from_masks(Expression(id="0"), masks).runs


@given(two_tracks())
def test_overlap_is_that_of_the_images_all_frames_together(both):
    one, other = both
    shared, either = (one & other).sum(), (one | other).sum()
    assert overlap(run_lengths(one), run_lengths(other)) == (shared, either)
    assert track_iou(run_lengths(one), run_lengths(other)) == pytest.approx(shared / either if either else 1, rel=1e-12)


@given(two_tracks())
def test_frame_ious_are_those_of_the_images(both):
    one, other = both
    union = (one | other).sum(axis=(1, 2))
    expected = np.where(union, (one & other).sum(axis=(1, 2)) / np.maximum(union, 1), 1)
    np.testing.assert_allclose(frame_ious(run_lengths(one), run_lengths(other)), expected, rtol=1e-12)


def test_areas_of_many_large_frames_stay_exact():
    size, frames = (4096, 8192), 300  # ten thousand million pixels
    empty, full = np.zeros(size, bool), np.ones(size, bool)
    half = full.copy()
    half[0, 0] = False
    tracks = [MaskTrack.from_masks(Expression(id="0"), [mask]).masks * frames for mask in (half, full, empty)]
    runs = [MaskTrack(expression=Expression(id="0"), size=size, masks=masks).runs for masks in tracks]
    pixels = size[0] * size[1] * frames
    assert overlap(runs[0], runs[1]) == (pixels - frames, pixels)
    assert overlap(runs[0], runs[2]) == (0, pixels - frames)
