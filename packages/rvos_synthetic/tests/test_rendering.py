"""Pixels: masks show what is visible, and stencils have their shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rvos_synthetic import SPLIT_LENGTH, SPLITS, SyntheticError, render_video
from rvos_synthetic.rendering import render, render_labels
from rvos_synthetic.scene import Occluder
from rvos_synthetic.shapes import SHAPES, stencil

SIZE, FRAMES = (64, 106), 6


def near(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask [T, H, W] grown by so many pixels."""
    grown = mask
    for _ in range(pixels):
        padded = np.pad(grown, ((0, 0), (1, 1), (1, 1)))
        shifted = (padded[:, dy : dy + mask.shape[1], dx : dx + mask.shape[2]] for dy in range(3) for dx in range(3))
        grown = np.logical_or.reduce(list(shifted))
    return grown


@given(st.sampled_from(SPLITS), st.integers(0, SPLIT_LENGTH - 1), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_mask_is_what_changes_when_its_object_is_removed(split, index, which):
    video = render_video(split, index, size=SIZE, frames=FRAMES)
    item = video.scene.objects[which % len(video.scene.objects)]
    without = replace(video.scene, layers=tuple(layer for layer in video.scene.layers if layer is not item))
    frames, labels = render(without, SIZE, FRAMES)
    mask = video.labels == item.label
    changed = (frames != video.frames).any(-1)
    assert not changed[~near(mask, video.scene.softness)].any()
    assert changed[mask].mean() > 0.9
    assert (labels[~mask] == video.labels[~mask]).all()


@given(st.integers(0, SPLIT_LENGTH - 1))
@settings(max_examples=15, deadline=None)
def test_occluders_only_hide(index):
    video = render_video("train", index, size=SIZE, frames=FRAMES)
    bare = tuple(layer for layer in video.scene.layers if not isinstance(layer, Occluder))
    labels = render_labels(replace(video.scene, layers=bare), SIZE, FRAMES)
    assert ((video.labels == labels) | (video.labels == 0)).all()


def test_the_video_as_described():
    video = render_video("train", 7, size=(48, 100), frames=5)
    assert video.frames.shape == (5, 48, 100, 3)
    assert video.labels.shape == (5, 48, 100)
    assert video.frames.dtype == video.labels.dtype == np.uint8
    assert video.frame_names == ("00000", "00005", "00010", "00015", "00020")
    assert video.name == "train_000007"
    assert {item.label for item in video.scene.objects} == set(np.unique(video.labels)) - {0}
    for row, item in zip(video.visible, video.scene.objects, strict=True):
        assert row.tolist() == [bool((frame == item.label).any()) for frame in video.labels]


def test_masks_of_a_video_are_the_same_scene_at_every_size():
    small, large = (render_video("valid", 3, size=(h, h * 5 // 3), frames=4).labels for h in (96, 480))
    halfway = large[:, 2::5, 2::5]
    assert (halfway == small).mean() > 0.97


def test_more_frames_show_the_same_scene_in_smaller_steps():
    few, many = (render_video("valid", 4, frames=count) for count in (4, 12))
    assert few.expressions == many.expressions
    assert (few.labels == many.labels[1::3]).all()


def test_videos_are_hard_in_the_ways_they_promise():
    videos = [render_video("train", index) for index in range(60)]
    hidden = [row for video in videos for row in ~video.visible]
    assert 0.1 < np.mean([row.any() for row in hidden]) < 0.5  # objects that leave or are covered, but not most
    assert any(row[0] for row in hidden)  # some come in later
    looks = [[item.look for item in video.scene.objects] for video in videos]
    differences = [
        sum(getattr(a, field) != getattr(b, field) for field in ("colour", "pattern", "shape", "size", "motion"))
        for scene in looks
        for a in scene
        for b in scene
        if a is not b
    ]
    assert {0, 1, 2} <= set(differences)  # nothing, one thing or two things tell them apart but the place
    assert np.mean(np.array(differences) <= 2) > 0.5
    assert min(map(len, looks)) >= 2
    assert max(map(len, looks)) <= 6


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi),
        ("ring", np.pi * (1 - 0.55**2)),
        ("square", 1.4**2),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("star", 10 * 0.45 * np.sin(np.pi / 5) / 2),
        ("cross", 2 * 1.875 * 2 / 3 - (2 / 3) ** 2),
    ],
)
@pytest.mark.parametrize("radius", [48, 128])
def test_stencils_have_the_area_of_their_shape(shape, area, radius):
    assert stencil(shape, radius).sum() == pytest.approx(area * radius**2, rel=2 / radius)


@pytest.mark.parametrize("shape", SHAPES)
def test_stencils_fill_their_radius_and_no_more(shape):
    radius = 48
    mask = stencil(shape, radius)
    y, x = np.nonzero(mask)
    far = np.hypot(x + 0.5 - 1.5 * radius, y + 0.5 - 1.5 * radius).max()
    assert 0.93 * radius < far <= radius + 0.5  # a pixel outside would be cut off
    assert mask.shape == (3 * radius, 3 * radius)
    if shape != "moon":
        assert (mask == mask[:, ::-1]).mean() > 0.99  # its left is like its right


def test_no_two_shapes_are_alike():
    masks = {shape: stencil(shape, 48) for shape in SHAPES}
    for a in SHAPES:
        for b in SHAPES:
            if a != b:
                assert (masks[a] & masks[b]).sum() < 0.85 * (masks[a] | masks[b]).sum(), f"{a} and {b}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "Test"}, "split: expected train, valid, test, found 'Test'"),
        ({"index": -1}, "index from 0 to 999999999, found -1"),
        ({"index": SPLIT_LENGTH}, "found 1000000000"),
        ({"size": (16, 160)}, "expected 32 to 2160 pixels in both directions, found 16x160"),
        ({"size": (96, 4000)}, "found 96x4000"),
        ({"size": (96, 400)}, "width of half to four times the height, found 96x400"),
        ({"size": (200, 90)}, "width of half to four times the height"),
        ({"frames": 0}, "frames: expected 1 to 1000 of them, found 0"),
        ({"frames": 1001}, "found 1001"),
    ],
)
def test_arguments_out_of_range_are_refused(change, message):
    arguments = {"split": "train", "index": 0, "size": (96, 160), "frames": 2} | change
    with pytest.raises(SyntheticError, match=message):
        render_video(**arguments)


@pytest.mark.parametrize("size", [(32, 32), (32, 128), (64, 32), (33, 77), (200, 350)])
def test_sizes_at_the_limits(size):
    video = render_video("test", 5, size=size, frames=1)
    assert video.frames.shape == (1, *size, 3)
