"""Sizes, images and labels at network size."""

import numpy as np
import pytest
import torch
from aot_deaot.config import named_config
from aot_deaot.errors import ConfigError
from aot_deaot.preprocess import network_image, network_labels, network_size
from aot_deaot.settings import SizeLimits, augmentations
from golden_cases import assert_close
from hypothesis import given
from hypothesis import strategies as st

SIDES = st.integers(8, 3000)


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((720, 1280), SizeLimits(), [(464, 832), (592, 1040), (704, 1248)]),
        ((720, 1280), SizeLimits(short_edge=624.0), [(464, 832), (576, 1040), (704, 1248)]),
        ((480, 854), SizeLimits(), [(384, 688), (480, 848), (576, 1024)]),
        ((96, 160), SizeLimits(short_edge=144, enlarge=True), [(112, 192), (144, 240), (176, 288)]),
        ((720, 1280), SizeLimits(short_edge=144, enlarge=True), [(112, 208), (144, 256), (176, 304)]),
    ],
)
def test_sizes_of_common_videos(size, limits, expected):
    assert [network_size(size, scale, limits) for scale in (0.8, 1.0, 1.2)] == expected


@given(SIDES, SIDES, st.sampled_from([0.5, 0.8, 1.0, 1.2]), st.booleans())
def test_sizes_fit_the_stride(height, width, scale, align_corners):
    found = network_size((height, width), scale, SizeLimits(), align_corners)
    extra = 1 if align_corners else 0
    for side, original in zip(found, (height, width), strict=True):
        assert (side - extra) % 16 == 0
        assert 16 + extra <= side <= max(original * scale, 16) + 16 + extra


def test_only_a_network_with_a_size_of_its_own_enlarges_frames():
    assert SizeLimits.of(named_config("aot", "swinl_aotl")) == SizeLimits()
    demo = named_config("aot", "demo")
    assert SizeLimits.of(demo) == SizeLimits(short_edge=demo.short_side, enlarge=True)
    with pytest.raises(ConfigError, match="short_edge"):
        SizeLimits(enlarge=True)


def test_an_image_of_network_size_is_only_normalised():
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    image = network_image(frame, (32, 48))
    assert image.shape == (1, 3, 32, 48)
    back = image[0].permute(1, 2, 0).numpy() * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    assert_close(back * 255, frame)


def test_labels_are_mirrored_before_they_are_resized():
    labels = torch.tensor([[[1, 2, 3]]])
    assert network_labels(labels, (1, 2), mirrored=False).tolist() == [[[1, 2]]]
    assert network_labels(labels, (1, 2), mirrored=True).tolist() == [[[3, 2]]]


def test_views_come_plain_then_mirrored():
    assert [(v.scale, v.mirrored) for v in augmentations((0.8, 1.0), True)] == [
        (0.8, False),
        (0.8, True),
        (1.0, False),
        (1.0, True),
    ]
    with pytest.raises(ConfigError, match="positive scales"):
        augmentations((), True)
