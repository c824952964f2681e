"""Windows, flips and resizing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rvos_layers.inference.config import ResizeRule
from rvos_training.data.clips import Clip, box_of, clip_windows, sample_window
from rvos_training.data.transforms import FlipAndResize, mirrored, swap_sides


@given(st.integers(1, 60), st.integers(1, 12))
def test_windows_cover_the_video(frames, length):
    windows = clip_windows(frames, length)
    assert {frame for window in windows for frame in window} == set(range(frames))
    assert all(len(window) == length for window in windows)
    assert all(list(window) == sorted(window) for window in windows)
    if frames >= length:
        assert len(windows) == -(-frames // length)
        assert all(len(set(window)) == length for window in windows)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_sampled_frames_are_equally_far_apart(count, length, longest, seed):
    frames = sample_window(count, length, longest, np.random.default_rng(seed))
    assert len(frames) == length
    assert min(frames) >= 0
    assert max(frames) < count
    steps = set(np.diff(frames).tolist())
    assert len(steps) <= 1 or count < length
    assert all(0 <= step <= longest for step in steps)


def a_clip() -> Clip:
    """Object at the left in frame 0, not seen in frame 1."""
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 5:9, 2:8] = True
    frames = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    return Clip.of("a clip", "the upright dog left of the rightmost cat", frames, masks)


def test_boxes_are_of_the_outermost_pixels():
    assert box_of(a_clip().masks[0]).tolist() == [2, 5, 7, 8]
    assert box_of(a_clip().masks[1]).tolist() == [0, 0, 0, 0]


SAME_SIZE = ResizeRule(short=20, longest=None)


@pytest.mark.parametrize("faithful", [False, True])
def test_a_flip_mirrors_everything(faithful):
    clip = a_clip()
    plain, flipped = (FlipAndResize(resize=SAME_SIZE, faithful=faithful).apply(clip, flip) for flip in (False, True))
    assert (flipped.frames == plain.frames.flip(-1)).all()
    assert (flipped.masks == plain.masks.flip(-1)).all()
    assert flipped.text == f"the {'upleft' if faithful else 'upright'} dog right of the leftmost cat"
    assert flipped.boxes[0, 0] == pytest.approx(1 - float(plain.boxes[0, 0]))
    assert flipped.boxes[0, 1:].tolist() == pytest.approx(plain.boxes[0, 1:].tolist())
    assert flipped.visible.tolist() == [True, False]


def test_labels_of_all_objects_move_with_the_masks():
    clip = a_clip()
    labels = np.where(clip.masks, 3, 0).astype(np.uint8)
    labels[:, 15:] = 1
    clip = replace(clip, labels=labels)
    for rule in (SAME_SIZE, ResizeRule(short=40, longest=None)):
        plain, flipped = (FlipAndResize(resize=rule).apply(clip, flip) for flip in (False, True))
        assert ((plain.labels == 3) == plain.masks).all()
        assert (plain.labels == 1).any()
        assert (flipped.labels == plain.labels.flip(-1)).all()
    assert FlipAndResize(resize=SAME_SIZE).apply(a_clip(), flip=True).labels is None


def test_labels_and_masks_are_of_one_size():
    with pytest.raises(ValueError, match="labels"):
        replace(a_clip(), labels=np.zeros((2, 5, 5), np.uint8))


def test_the_empty_box_stays_where_it_is():
    flipped = FlipAndResize(resize=SAME_SIZE).apply(a_clip(), flip=True)
    assert flipped.boxes[1].tolist() == [0, 0, 0, 0]


def test_faithful_moves_the_empty_box_to_the_right_edge():
    flipped = FlipAndResize(resize=SAME_SIZE, faithful=True).apply(a_clip(), flip=True)
    assert flipped.boxes[1].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("faithful", "probability"), [(False, 0.5), (True, 0.3085)])
def test_how_often_clips_are_flipped(faithful, probability):
    transform, clip = FlipAndResize(resize=SAME_SIZE, faithful=faithful), replace(a_clip(), text="left")
    assert transform.flip_probability == pytest.approx(probability, abs=1e-4)
    random = np.random.default_rng(5)
    flipped = [transform(clip, random).text == "right" for _ in range(1500)]
    assert np.mean(flipped) == pytest.approx(probability, abs=0.04)


@given(st.text(alphabet="lefrightmos LR-", max_size=30))
def test_swapping_sides_twice_changes_nothing(text):
    assert swap_sides(swap_sides(text)) == text


def test_published_words_of_mirrored_clips():
    text = "the upright Left leftmost right one"
    assert swap_sides(text) == "the upright Right rightmost left one"
    assert swap_sides(text, faithful=True) == "the upleft Left rightmost left one"
    clip = replace(a_clip(), text=text)
    assert FlipAndResize(resize=SAME_SIZE, faithful=True).apply(clip, flip=True).text == swap_sides(text, faithful=True)
    assert mirrored(clip, faithful_words=True).text == swap_sides(text, faithful=True)


@given(st.integers(10, 90), st.integers(10, 90), st.booleans())
def test_resizing_keeps_proportions(height, width, flip):
    masks = np.zeros((1, height, width), bool)
    masks[0, : height // 2, : width // 2] = True
    clip = Clip.of("clip", "dog", np.zeros((1, height, width, 3), np.uint8), masks)
    sample = FlipAndResize(resize=ResizeRule(short=24, longest=64)).apply(clip, flip)
    size = sample.masks.shape[1:]
    assert sample.frames.shape == (1, 3, *size)
    assert float(sample.masks.float().mean()) == pytest.approx(masks.mean(), abs=0.12)
    assert 0 <= float(sample.boxes.min()) <= float(sample.boxes.max()) <= 1
