"""Frames and masks to network size, and back."""

import numpy as np
import pytest
import torch
from cutie.preprocess import MEAN, STD, NetworkView, shrunk
from golden_cases import assert_close
from hypothesis import given
from hypothesis import strategies as st

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 854), (480, 854)), ((720, 1280), (480, 853)), ((1280, 720), (853, 480)), ((500, 500), (480, 480))],
)
def test_long_videos_are_shrunk_to_the_short_side(size, expected):
    assert shrunk(size, 480) == expected


@given(st.integers(1, 70), st.integers(1, 70))
def test_every_size_becomes_multiples_of_16_and_comes_back(height, width):
    view = NetworkView((height, width), 480)
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = view.image(frame, CPU)
    assert image.shape[-2] % 16 == image.shape[-1] % 16 == 0
    assert image.shape[-2] - height < 16
    again = view.restore(image[0]).permute(1, 2, 0) * torch.tensor(STD) + torch.tensor(MEAN)
    assert_close(again * 255, frame.astype(np.float32), layers=4)


def test_the_padding_is_black_and_background():
    view = NetworkView((30, 33), 480)
    assert view.padding == (7, 8, 1, 1)
    image = view.image(np.full((30, 33, 3), 255, np.uint8), CPU)[0] * torch.tensor(STD)[:, None, None]
    black = -torch.tensor(MEAN)
    assert_close(image[:, 0, 0], black)
    assert_close(image[:, -1, -1], black)
    labels = view.labels(torch.ones(30, 33, dtype=torch.uint8))
    assert labels.shape == (32, 48)
    assert int(labels.sum()) == 30 * 33


def test_shrunk_masks_and_probabilities():
    view = NetworkView((200, 300), 100)
    labels = torch.zeros(200, 300, dtype=torch.uint8)
    labels[50:100, 100:200] = 7
    small = view.labels(labels)
    assert small.shape == (112, 160)
    assert small.unique().tolist() == [0, 7]
    back = view.restore((small == 7)[None].float())[0]
    assert back.shape == (200, 300)
    assert ((back > 0.5) == (labels == 7)).float().mean() > 0.99
