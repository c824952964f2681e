"""Sine encodings on small pictures, against the formula written out for one position at a time."""

import math

import pytest
import torch
from golden_cases import rounding
from hypothesis import given
from hypothesis import strategies as st
from rvos_layers.encoders.positions import sine_encoding_1d, sine_encoding_2d


def wave(angle: float, channel: int, channels: int) -> float:
    phase = angle / 10000 ** (2 * (channel // 2) / channels)
    return math.cos(phase) if channel % 2 else math.sin(phase)


@given(st.integers(1, 9), st.integers(0, 8), st.sampled_from([2, 8, 32]))
def test_words(words, padded, channels):
    mask = torch.tensor([[False] * words + [True] * padded])
    code = sine_encoding_1d(mask, channels)[0]
    for place in range(words):
        angle = (place + 1) / (words + 1e-6) * 2 * math.pi
        expected = [wave(angle, channel, channels) for channel in range(channels)]
        assert code[place].tolist() == pytest.approx(expected, abs=rounding(2 * math.pi))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))
def test_pixels(rows, columns, below, beside):
    mask = torch.ones(1, rows + below, columns + beside, dtype=torch.bool)
    mask[:, :rows, :columns] = False
    code = sine_encoding_2d(mask, 8)[0]
    assert code.shape == (8, rows + below, columns + beside)
    for row in range(rows):
        for column in range(columns):
            y, x = ((p + 0.5) / (n + 1e-6) * 2 * math.pi for p, n in ((row, rows), (column, columns)))
            expected = [wave(y, c, 4) for c in range(4)] + [wave(x, c, 4) for c in range(4)]
            assert code[:, row, column].tolist() == pytest.approx(expected, abs=rounding(2 * math.pi))
