"""Tracks and what may be in them."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import (
    Expression,
    MaskError,
    MaskTrack,
    VideoMasks,
    binary_from_logits,
    binary_from_probabilities,
    empty_mask,
    soft_from_probabilities,
    support_from_probabilities,
)

DOG = Expression(id="0", text="a dog")
PICTURE = np.array([[0, 1, 1], [0, 0, 1]], bool)


def test_from_masks_and_back():
    track = MaskTrack.from_masks(DOG, [PICTURE, ~PICTURE, np.zeros_like(PICTURE)], scores=[0.1, 0.9, 0.9])
    assert (len(track), track.size, track.key_frame) == (3, (2, 3), 1)
    np.testing.assert_array_equal(track.stack(), [PICTURE, ~PICTURE, np.zeros_like(PICTURE)])
    np.testing.assert_array_equal(track.mask(1), ~PICTURE)
    assert track.masks[2] == empty_mask((2, 3))
    assert track.runs.areas().tolist() == [3, 3, 0]
    assert MaskTrack.from_runs(DOG, track.runs, (2, 3), scores=track.scores) == track
    with pytest.raises(MaskError, match="mask 0: expected run lengths that fill 3x3"):
        MaskTrack.from_runs(DOG, track.runs, (3, 3))


def test_an_iterator_of_masks_is_consumed_one_by_one():
    track = MaskTrack.from_masks(DOG, (PICTURE for _ in range(2)))
    assert track.key_frame is None
    assert track.scores is None
    assert len(track) == 2


def test_tracks_compare_by_value_and_cannot_change():
    track = MaskTrack.from_masks(DOG, [PICTURE], scores=[0.5], soft=np.full((1, 2, 2), 9, np.uint8))
    assert track == replace(track)
    assert hash(track) == hash(replace(track))
    assert track != replace(track, scores=np.array([0.25]))
    assert track != replace(track, soft=None)
    assert track != "track"
    with pytest.raises(FrozenInstanceError):
        track.key_frame = 3
    with pytest.raises(ValueError):
        track.scores[0] = 1


def test_a_copy_is_taken_of_arrays():
    scores = np.array([0.5], np.float32)
    track = MaskTrack.from_masks(DOG, [PICTURE], scores=scores)
    scores[0] = 9
    assert track.scores[0] == 0.5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"masks": ()}, "at least one frame"),
        ({"masks": (b"junk",)}, "masks: mask 0"),
        ({"size": (3, 3)}, "fill 3x3 = 9 pixels"),
        ({"size": (2, 0)}, "height, width"),
        ({"scores": np.zeros(2)}, r"scores: expected 1 finite numbers, found shape \[2\]"),
        ({"scores": np.array([np.inf])}, "found inf at 0"),
        ({"key_frame": 1}, "key_frame: expected a frame from 0 to 0, found 1"),
        ({"key_frame": 0.0}, "key_frame"),
        ({"support": (b"6", b"6")}, "support: expected 1 masks, found 2"),
        ({"support": (b"5",)}, "support: mask 0"),
        ({"soft": np.zeros((1, 3, 3), np.uint8)}, "soft: expected uint8"),
        ({"soft": np.zeros((1, 2, 3), np.float32)}, "found float32"),
        ({"soft": np.zeros((1, 0, 3), np.uint8)}, "soft"),
    ],
)
def test_rules(change, reason):
    track = MaskTrack.from_masks(DOG, [PICTURE])
    with pytest.raises(MaskError, match=reason) as caught:
        replace(track, **change)
    assert "expression '0'" in str(caught.value)


def test_masks_of_different_sizes():
    with pytest.raises(MaskError, match=r"2x3, found \(3, 3\) in frame 1"):
        MaskTrack.from_masks(DOG, [PICTURE, np.zeros((3, 3), bool)])
    with pytest.raises(MaskError, match="found none"):
        MaskTrack.from_masks(DOG, [])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"id": "a/b"}, "contains '/'"),
        ({"id": "0", "text": ""}, "an empty one"),
        ({"id": "0", "text": " \t"}, "an empty one"),
        ({"id": "0", "text": b"a dog"}, "expected text as text, found bytes"),
        ({"id": "0", "text": "dog \udcff"}, "not valid Unicode at position 4"),
        ({"id": "0", "group": ""}, "expected group with words"),
    ],
)
def test_expressions(values, reason):
    with pytest.raises(Exception, match=reason):
        Expression(**values)


def test_video():
    track = MaskTrack.from_masks(DOG, [PICTURE])
    video = VideoMasks(video="v", size=(2, 3), frame_names=("a",), tracks=(track,))
    assert video.track("0") is track
    assert video.expression_ids == ("0",)
    with pytest.raises(MaskError, match="no expression '1', only 0"):
        video.track("1")
    for change, reason in [
        ({"frame_names": ("a", "b")}, "expected 2 masks, found 1"),
        ({"frame_names": ("a", "a")}, "'a' again"),
        ({"frame_names": ()}, "at least one frame"),
        ({"size": (3, 2)}, "expected masks of 3x2, found 2x3"),
        ({"tracks": (track, track)}, "every expression id once"),
    ]:
        with pytest.raises(MaskError, match=reason):
            replace(video, **change)


@given(
    arrays(
        np.float32, st.integers(1, 50), elements=st.floats(-(2**-20), 2**-20, width=32) | st.floats(-50, 50, width=32)
    )
)
def test_binary_from_logits_is_the_float32_sigmoid(logits):
    """The threshold stands for a sigmoid that rounds correctly in float32: compute it in float64, round each step."""
    exponential = np.exp(-logits.astype(np.float64)).astype(np.float32)
    sigmoid = np.float32(1) / (np.float32(1) + exponential)
    np.testing.assert_array_equal(binary_from_logits(logits), sigmoid > 0.5)
    np.testing.assert_array_equal(support_from_probabilities(logits), sigmoid > 0.5)


def test_binary_near_the_threshold():
    logits = np.array([-1, 0, 1e-9, 1e-8, 5e-7, 1, np.nan], np.float32)
    assert binary_from_logits(logits).tolist() == [False, False, False, False, True, True, False]
    probabilities = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.4, 1], np.float32)
    assert binary_from_probabilities(probabilities).tolist() == [False, True, False, True]


def test_soft_masks():
    probabilities = np.zeros((2, 40, 60), np.float32)
    probabilities[0, :, :30] = 1
    probabilities[1] = 0.5
    soft = soft_from_probabilities(probabilities, longest=6)
    assert soft.dtype == np.uint8
    assert soft.shape == (2, 4, 6)
    assert soft[0].tolist() == [[255, 255, 255, 0, 0, 0]] * 4
    assert set(soft[1].ravel().tolist()) == {128}
    assert soft_from_probabilities(probabilities, longest=1000).shape == (2, 40, 60)
