"""The two attentions against their definitions, written out place by place."""

import pytest
import torch
from aot_deaot.attention import RelativePosition, Tiling, attend, attend_each, attend_nearby, joined
from hypothesis import given, settings
from hypothesis import strategies as st
from program_kit.torch import memory

SIZES = st.tuples(st.integers(1, 13), st.integers(1, 13))


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def by_definition(query, key, value):
    weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, dim=-1)
    return weights @ value


@pytest.mark.parametrize("bytes_at_once", [2**28, 2000])
def test_attend_is_softmax_attention(monkeypatch, bytes_at_once):
    monkeypatch.setattr(memory, "group_bytes", lambda device: bytes_at_once)
    torch.manual_seed(0)
    query, key, same, wide = drawn(3, 2, 5, 4), drawn(3, 2, 11, 4), drawn(3, 2, 11, 4), drawn(3, 2, 11, 9)
    for values in ([same], [wide], [same, wide]):
        for found, value in zip(attend(query, (key, *values)), values, strict=True):
            torch.testing.assert_close(found, by_definition(query, key, value))


def test_shared_weights_serve_every_object_set():
    torch.manual_seed(0)
    query, key, values = drawn(1, 2, 5, 4), drawn(1, 2, 11, 4), drawn(3, 2, 11, 4)
    (found,) = attend(query, (key, values))
    torch.testing.assert_close(found, by_definition(query.expand(3, -1, -1, -1), key.expand(3, -1, -1, -1), values))


def test_object_sets_that_remember_different_frames():
    torch.manual_seed(0)
    query = drawn(3, 1, 5, 4)
    first, second = (drawn(1, 1, 7, 4), drawn(1, 1, 7, 6)), (drawn(2, 1, 12, 4), drawn(2, 1, 12, 6))
    (found,) = attend_each(query, [first, second])
    torch.testing.assert_close(found[:1], by_definition(query[:1], *first))
    torch.testing.assert_close(found[1:], by_definition(query[1:], *second))
    (shared,) = attend_each(query[:1], [(first[0], drawn(1, 1, 7, 6)), (second[0][:1], second[1])])
    assert shared.shape[0] == 3


def nearby_by_definition(query, key, value, position, size):
    """One query at a time, one place of its window at a time."""
    height, width = size
    radius = position.radius
    heads, dim = query.shape[1], query.shape[3]
    out = torch.zeros(*query.shape[:3], value.shape[-1], dtype=query.dtype)
    for n in range(heads):
        for y in range(height):
            for x in range(width):
                q = query[0, n, y * width + x]
                logits, found = [], []
                for dy in range(-radius, radius + 1):
                    for dx in range(-radius, radius + 1):
                        place = (dy + radius) * (2 * radius + 1) + dx + radius
                        if not (0 <= y + dy < height and 0 <= x + dx < width):
                            continue
                        at = (y + dy) * width + x + dx
                        relative = position.weight[n, place] @ q + position.bias[n, place]
                        logits.append(q @ key[0, n, at] / dim**0.5 + relative)
                        learned = 0 if position.value is None else position.value[n, :, place]
                        found.append(value[0, n, at] + learned)
                weights = torch.stack(logits).softmax(dim=0)
                out[0, n, y * width + x] = (weights[:, None] * torch.stack(found)).sum(dim=0)
    return out


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 3), st.booleans(), st.integers(1, 2))
@torch.no_grad()
def test_attend_nearby_is_attention_over_a_window(size, radius, values, heads):
    torch.manual_seed(0)
    length, dim = size[0] * size[1], 3
    position = RelativePosition(heads, dim, radius, values=values).double()
    for parameter in position.parameters():
        parameter.copy_(torch.randn_like(parameter))
    query, key, value = drawn(1, heads, length, dim), drawn(1, heads, length, dim), drawn(1, heads, length, dim)
    (found,) = attend_nearby(query, (key, value), position, size)
    torch.testing.assert_close(found, nearby_by_definition(query, key, value, position, size))


@torch.no_grad()
def test_nearby_weights_are_shared_by_object_sets():
    torch.manual_seed(0)
    position = RelativePosition(2, 4, 7, values=True).double()
    query, key, values = drawn(1, 2, 54, 4), drawn(1, 2, 54, 4), drawn(3, 2, 54, 4)
    (shared,) = attend_nearby(query, (key, values), position, (6, 9))
    for index in range(3):
        (alone,) = attend_nearby(query, (key, values[index : index + 1]), position, (6, 9))
        torch.testing.assert_close(shared[index : index + 1], alone)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(1, 7))
def test_tiles_cover_the_map_once(size, radius):
    tiling = Tiling(*size, radius)
    tokens = torch.arange(size[0] * size[1], dtype=torch.float64).reshape(1, 1, -1, 1) + 1
    assert torch.equal(tiling.restore(tiling.queries(tokens)), tokens)
    assert tiling.inside(torch.device("cpu")).any(dim=-1).all()  # every query, a filling one too, has a key


def test_joined_keeps_what_all_share_single():
    shared, own = torch.zeros(1, 2), torch.ones(3, 2)
    assert joined([shared, shared], [2, 3]) is shared
    assert joined([shared, own], [2, 3]).shape == (5, 2)
