"""Mirrored, distorted, cut out, resized: box, mask and pixels stay together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rvos_layers.inference.preprocess import MEAN, STD
from rvos_training.data.augmentation import OF_CLIPS, OF_IMAGES, Augmentation, Distortion, crop
from rvos_training.data.clips import Clip
from torchvision.ops import box_convert, masks_to_boxes

EIGHTH = replace(OF_CLIPS.scaled(1 / 8), distortion=None)  # sides of 36 to 64 pixels


def a_clip(object_at=(20, 30, 26, 44)) -> Clip:
    """A white object (top, left, bottom, right) in front of black, gone in the last of three frames."""
    top, left, bottom, right = object_at
    masks = np.zeros((3, 45, 80), bool)
    masks[:2, top:bottom, left:right] = True
    frames = np.where(masks[..., None], np.uint8(255), np.uint8(0)).repeat(3, -1)
    return Clip.of("clip", "the dog left of the cat", frames, masks)


def brightness(sample) -> np.ndarray:
    """float32[T, h, w] in 0..1."""
    return (sample.frames[:, 0] * STD[0] + MEAN[0]).numpy()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_mask_box_and_pixels_agree(seed, faithful):
    clip = a_clip()
    sample = replace(EIGHTH, faithful=faithful)(clip, np.random.default_rng(seed))
    height, width = sample.masks.shape[1:]
    assert min(height, width) <= 64
    assert max(height, width) <= 80
    assert sample.visible[:2].all()
    assert not sample.visible[2]
    assert not sample.masks[2].any()
    assert sample.boxes[2].tolist() == [0, 0, 0, 0]
    bright = brightness(sample)[:2] > 0.5
    assert (bright != sample.masks[:2].numpy()).mean() < 0.05
    for mask, box in zip(sample.masks[:2], box_convert(sample.boxes[:2], "cxcywh", "xyxy"), strict=True):
        if not mask.any():  # of a visible object no pixel may be left
            continue
        [seen] = masks_to_boxes(mask[None])
        for found, expected, side in zip(box, seen, (width, height) * 2, strict=True):
            assert float(found) * side == pytest.approx(float(expected), abs=3)


def test_the_same_generator_gives_the_same_sample():
    augment = replace(EIGHTH, distortion=Distortion())
    one, other, third = (augment(a_clip(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one.frames == other.frames).all()
    assert one.frames.shape != third.frames.shape or (one.frames != third.frames).any()


def test_half_of_the_clips_are_mirrored_with_their_sentence():
    clip = a_clip((5, 2, 40, 20))
    mirrored = 0
    for seed in range(200):
        sample = EIGHTH(clip, np.random.default_rng(seed))
        right = "right" in sample.text
        mirrored += right
        assert (float(sample.boxes[0, 0]) > 0.5) == right
    assert 70 < mirrored < 130


def test_a_piece_without_the_object_is_not_crop():
    corner = a_clip((0, 0, 2, 2))
    for seed in range(100):
        assert EIGHTH(corner, np.random.default_rng(seed)).visible.any()


def test_boxes_of_pieces():
    """An L of which the piece holds the upright part: its box is smaller than what is left of the whole one's."""
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 2:18, 2:4] = masks[0, 16:18, 2:18] = True
    clip = Clip.of("clip", "dog", np.zeros((1, 20, 20, 3), np.uint8), masks)
    measured, left_over = (crop(clip, (0, 0), (10, 20), faithful) for faithful in (False, True))
    assert measured.boxes.tolist() == [[2, 2, 3, 9]]
    assert left_over.boxes.tolist() == [[2, 2, 17, 10]]
    assert (measured.masks == left_over.masks).all()


def test_faithful_calls_visible_what_only_a_box_reaches():
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 2:18, 2:4] = masks[0, 16:18, 2:18] = True
    clip = Clip.of("clip", "dog", np.zeros((1, 20, 20, 3), np.uint8), masks)
    assert crop(clip, (4, 8), (8, 8), faithful=False).visible.tolist() == [False]
    assert crop(clip, (4, 8), (8, 8), faithful=True).visible.tolist() == [True]


def test_every_frame_has_colours_of_its_own():
    grey = np.full((40, 8, 8, 3), (90, 120, 160), np.uint8)
    random = np.random.default_rng(0)
    values = np.stack([Distortion()(frame, random)[0, 0] for frame in grey])
    assert len(np.unique(values, axis=0)) > 20
    assert (values == (90, 120, 160)).all(1).any()  # each change has probability one half


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        ({"brightness": 32.0}, (58, 88, 128), (122, 152, 192)),
        ({"contrast": (0.5, 1.5)}, (45, 60, 80), (135, 180, 240)),
    ],
)
def test_ranges_of_colours(change, low, high):
    none = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0}
    random = np.random.default_rng(0)
    frame = np.full((2, 2, 3), (90, 120, 160), np.uint8)
    seen = np.sort(np.stack([Distortion(**(none | change))(frame, random)[0, 0] for _ in range(400)]), axis=1)
    assert (seen.min(0) >= np.subtract(low, 1)).all()
    assert (seen.max(0) <= np.add(high, 1)).all()
    assert (seen.min(0) <= np.add(low, 4)).all()
    assert (seen.max(0) >= np.subtract(high, 4)).all()


def test_bright_values_do_not_wrap_round():
    white = np.full((2, 2, 3), 255, np.uint8)
    none = {"saturation": (1.0, 1.0), "hue": 0.0, "contrast": (1.4, 1.5)}
    seen = [Distortion(**none)(white, np.random.default_rng(seed)) for seed in range(100)]
    assert min(one.min() for one in seen) >= 255 - 33


@pytest.mark.parametrize("published", [OF_CLIPS, OF_IMAGES])
def test_published_sizes(published: Augmentation):
    assert published.scaled(1) == published
    assert (published.before_crop, published.crop_sides, published.crop.longest) == ((400, 500, 600), (384, 600), 640)
    assert len(published.crop.short) == 8
    assert (OF_CLIPS.whole.longest, OF_IMAGES.whole.longest) == (640, 800)
    assert OF_IMAGES.distortion is None
