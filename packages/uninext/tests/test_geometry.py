"""What follows from a frame's size."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uninext.geometry import frame_geometry, sinusoidal_encoding

SIZES = st.tuples(st.integers(20, 300), st.integers(20, 300))


@settings(max_examples=40, deadline=None)
@given(SIZES)
def test_levels_tile_the_padded_frame(size: tuple[int, int]) -> None:
    geometry = frame_geometry(size, 32)
    height, width = geometry.padded_size
    assert height % 32 == width % 32 == 0
    assert 0 <= height - size[0] < 32
    assert 0 <= width - size[1] < 32
    assert [(height // s, width // s) for s in (8, 16, 32)] == list(geometry.level_sizes[:3])
    assert geometry.tokens == sum(h * w for h, w in geometry.level_sizes)
    for name in ("position_encoding", "centres", "anchors", "valid_anchors"):
        assert len(getattr(geometry, name)) == geometry.tokens
    maps = geometry.split(geometry.position_encoding)
    assert [tuple(m.shape) for m in maps] == [(32, h, w) for h, w in geometry.level_sizes]


@settings(max_examples=40, deadline=None)
@given(SIZES)
def test_centres_of_real_tokens_lie_in_the_frame(size: tuple[int, int]) -> None:
    geometry = frame_geometry(size, 32)
    real = geometry.centres[~geometry.padding] / geometry.valid_ratios
    assert ((real > 0) & (real < 1)).all()
    assert not (geometry.valid_anchors & geometry.padding).any()
    chosen = geometry.anchors[geometry.valid_anchors]
    assert ((chosen > 0.01) & (chosen < 0.99)).all()


def test_the_outer_ring_is_not_proposed_at_the_published_size() -> None:
    geometry = frame_geometry((480, 853), 32)
    fine, middle = (g[0] for g in geometry.split(geometry.valid_anchors[:, None].float())[:2])
    assert geometry.tokens == 8617
    assert not fine[0].any()
    assert not fine[:, 0].any()
    assert fine[1:-1, 1:-2].all()  # the last column is padding, the one before it is the border
    assert not fine[:, -2:].any()
    assert not middle[:, 0].any()
    assert middle[0, 1:-1].all()


def test_without_padding_nothing_is_padding() -> None:
    geometry = frame_geometry((64, 96), 32)
    assert not geometry.padding.any()
    assert torch.equal(geometry.valid_ratios, torch.ones(4, 2))


def test_the_first_frequency_is_the_plain_sine() -> None:
    angles = torch.tensor([0.0, 0.5])
    codes = sinusoidal_encoding(angles, 6)
    torch.testing.assert_close(codes[:, 0], angles.sin())
    torch.testing.assert_close(codes[:, 1], angles.cos())
    assert codes.shape == (2, 6)
