"""Attention must be torch's own, whichever way its memory is handed over."""

import pytest
import torch
from golden_cases import assert_close
from rvos_layers.blocks.attention import Attention, AttentionLayer, FeedForward, attention_mask
from torch import nn

CHANNELS, HEADS = 24, 3


def tokens(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, CHANNELS, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair() -> tuple[Attention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True).eval()
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = Attention(CHANNELS, HEADS).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_equals_torch_with_padded_keys(pair):
    ours, theirs = pair
    query, key, value = tokens(2, 5, seed=1), tokens(2, 7, seed=2), tokens(2, 7, seed=3)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    expected, _ = theirs(query, key, value, key_padding_mask=padding)
    assert_close(ours(query, key, value, attention_mask(padding)), expected, layers=4)
    unpadded, _ = theirs(query, key, value)
    assert_close(ours(query, key, value), unpadded, layers=4)
    assert (unpadded - expected).abs().max() > 1e-3


def test_a_projected_memory_serves_many_queries(pair):
    ours, _ = pair
    key, value = tokens(2, 7, seed=2), tokens(2, 7, seed=3)
    memory = ours.project_memory(key, value)
    for seed in range(3):
        query = tokens(2, 4, seed=seed)
        assert_close(ours.attend(query, *memory), ours(query, key, value), layers=4)


def test_positions_reach_queries_and_keys_but_not_values():
    torch.manual_seed(0)
    layer = AttentionLayer(CHANNELS, HEADS, 0.1).eval()
    x, memory = tokens(2, 5, seed=1), tokens(2, 7, seed=2)
    position, memory_position = tokens(5, seed=3), tokens(7, seed=4)
    attended = layer.attention(x + position, memory + memory_position, memory)
    actual = layer(x, memory, position=position, memory_position=memory_position)
    assert_close(actual, layer.norm(x + attended), layers=4)
    among_themselves = layer.attention(x + position, x + position, x)
    assert_close(layer(x, position=position), layer.norm(x + among_themselves), layers=4)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    layer = nn.Sequential(AttentionLayer(CHANNELS, HEADS, 0.5), FeedForward(CHANNELS, 48, 0.5))
    x = tokens(1, 6, seed=1)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
