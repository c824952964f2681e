"""Who exchanges with whom when the queries of all frames become a few for the clip."""

import pytest
import torch
from golden_cases import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from rvos_layers.blocks.config import FrameQueryConfig
from rvos_layers.blocks.frame_query import FrameEncoderLayer, FrameQueryTransformer

CONFIG = FrameQueryConfig(hidden_size=16, num_heads=4, feedforward_dim=24, window=4)
QUERIES = 3


def listeners(window: int | None, frames: int, source: int, shifted: bool) -> set[int]:
    """Frames whose queries change with those of `source` in one layer."""
    torch.manual_seed(0)
    layer = FrameEncoderLayer(FrameQueryConfig(hidden_size=16, num_heads=4, feedforward_dim=24, window=window)).eval()
    queries = torch.randn(1, frames, QUERIES, 16)
    changed = queries.clone()
    changed[:, source] += 1
    with torch.no_grad():
        difference = (layer(queries, shifted) - layer(changed, shifted)).abs().amax((0, 2, 3))
    return {t for t in range(frames) if difference[t] > 1e-6}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 13), st.data(), st.booleans())
def test_frames_exchange_within_their_window(frames, data, shifted):
    source = data.draw(st.integers(0, frames - 1))
    start = 2 if shifted else 0
    expected = {t for t in range(frames) if (t + start) // 4 == (source + start) // 4}
    assert listeners(4, frames, source, shifted) == expected


def test_without_windows_all_frames_exchange():
    assert listeners(None, 7, 3, shifted=True) == set(range(7))


@pytest.mark.parametrize(("shifts", "reached"), [(True, {0, 1, 2, 3, 4, 5, 6, 7}), (False, {0, 1, 2, 3})])
def test_every_second_layer_shifts(shifts, reached):
    """Frame 0 is reached from beyond its window only if the layer between shifts."""
    torch.manual_seed(0)
    transformer = FrameQueryTransformer(CONFIG, QUERIES).eval()
    queries = torch.randn(1, 12, QUERIES, 16)
    changed = queries.clone()
    changed[:, 0] += 1
    with torch.no_grad():
        difference = transformer.encode(queries, shifts) - transformer.encode(changed, shifts)
    assert {t for t in range(12) if difference[0, t].abs().max() > 1e-6} == reached


def test_clips_keep_apart():
    torch.manual_seed(0)
    transformer = FrameQueryTransformer(CONFIG, QUERIES).eval()
    queries, start = torch.randn(3, 6, QUERIES, 16), torch.randn(3, QUERIES, 16)
    with torch.no_grad():
        together = transformer(queries, start)
        for i in range(3):
            alone = transformer(queries[i, None], start[i, None])[0]
            assert_close(together[i], alone, layers=20)


def test_a_window_is_even():
    with pytest.raises(ValueError, match="even number of frames"):
        FrameQueryConfig(hidden_size=16, window=3)
