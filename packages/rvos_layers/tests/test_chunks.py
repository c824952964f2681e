"""Work in chunks equals work at once, whatever the layout in memory."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rvos_layers.chunks import chunk_slices, map_chunks


@given(st.integers(0, 30), st.integers(1, 12))
def test_chunks_cover_everything_once(count, size):
    parts = [list(range(count))[chunk] for chunk in chunk_slices(count, size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert all(1 <= len(part) <= size for part in parts)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("size", [1, 2, 5, 7, 20])
def test_mapping_in_chunks(gradients, channels_last, size):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    frames = torch.randn(7, 4, 3, 5).contiguous(memory_format=layout)
    with torch.set_grad_enabled(gradients):
        mapped = map_chunks(lambda chunk: chunk[:, :, 1:].sin(), frames, size)
    torch.testing.assert_close(mapped, frames[:, :, 1:].sin(), rtol=0, atol=0)
    assert mapped.is_contiguous(memory_format=layout)
