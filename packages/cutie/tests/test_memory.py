"""Memory: what is read, what is kept, and how much."""

from copy import copy

import pytest
import torch
from cutie.encoder import FrameKeys
from cutie.errors import ConfigError
from cutie.memory import Memory, likeness
from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings
from golden_cases import assert_close

SIZE = (4, 5)
TOKENS = 20
OBJECTS, DIM = 2, 3
SHORT = LongTerm(most_frames=4, least_frames=2, prototypes=6, most_tokens=30, spare_tokens=8)


def frame(seed):
    """Keys and values of a frame, drawn."""
    draw = torch.Generator().manual_seed(seed)
    key = torch.randn(TOKENS, 8, generator=draw)
    shrinkage = torch.rand(TOKENS, 1, generator=draw) + 1
    selection = torch.rand(TOKENS, 8, generator=draw)
    return FrameKeys(key, shrinkage, selection), torch.randn(OBJECTS, DIM, *SIZE, generator=draw)


def filled(policy, frames):
    memory = Memory(policy, *frame(0))
    for seed in range(1, frames):
        memory.read(frame(seed)[0], SIZE)
        memory.add(*frame(seed))
    return memory


def test_likeness_is_a_weighted_distance():
    (ours, _), (theirs, _) = frame(0), frame(1)
    apart = ours.key[:, None] - theirs.key[None]
    expected = -(apart.square() * ours.selection[:, None]).sum(-1) * theirs.shrinkage.mT / 8**0.5
    assert_close(likeness(ours.key, ours.selection, theirs.key, theirs.shrinkage), expected)


def test_a_pixel_reads_the_most_like_ones_weighted():
    memory = filled(MemoryPolicy(top=3), 3)
    query, _ = frame(9)
    keys = [frame(seed)[0] for seed in range(3)]
    values = torch.cat([frame(seed)[1].flatten(2) for seed in range(3)], dim=2)
    like = torch.cat([likeness(query.key, query.selection, own.key, own.shrinkage) for own in keys], dim=1)
    least = like.topk(3, dim=1).values[:, -1:]
    weights = like.masked_fill(like < least, -torch.inf).softmax(dim=1)
    expected = torch.einsum("ncm,qm->ncq", values, weights).unflatten(2, SIZE)
    assert_close(memory.read(query, SIZE), expected)


def test_fewer_pixels_than_are_to_be_read_are_enough():
    read = Memory(MemoryPolicy(top=1000), *frame(0)).read(frame(1)[0], SIZE)
    assert read.shape == (OBJECTS, DIM, *SIZE)
    assert read.isfinite().all()


def test_very_unlike_pixels_are_read_all_the_same():
    (keys, values), (query, _) = frame(0), frame(1)
    far = keys._replace(key=keys.key + 1e4)
    assert Memory(MemoryPolicy(), far, values).read(query, SIZE).isfinite().all()


def test_the_working_memory_keeps_the_key_frame_and_the_newest():
    policy = MemoryPolicy(frames=3, top=1)
    memory = filled(policy, 8)
    assert (memory.working, memory.condensed) == (2 * TOKENS, 0)
    for seed, remembered in ((0, True), (6, True), (7, True), (1, False), (5, False)):
        keys, values = frame(seed)
        all_alike = keys._replace(selection=torch.ones_like(keys.selection))
        is_there = torch.equal(memory.read(all_alike, SIZE), values)
        assert is_there == remembered, f"frame {seed}"


@pytest.mark.parametrize("policy", [MemoryPolicy(frames=3, top=1), MemoryPolicy(top=1, long_term=SHORT)])
def test_no_reference_is_dropped(policy):
    memory = Memory(policy, *frame(0))
    memory.add_reference(*frame(50))
    for seed in range(1, 20):
        memory.read(frame(seed)[0], SIZE)
        memory.add(*frame(seed))
    for seed in (0, 50, 19):
        keys, values = frame(seed)
        all_alike = keys._replace(selection=torch.ones_like(keys.selection))
        assert torch.equal(memory.read(all_alike, SIZE), values), f"frame {seed}"
    assert memory.working <= 3 * TOKENS


def test_the_long_term_memory_is_bounded():
    policy = MemoryPolicy(long_term=SHORT)
    sizes = [(memory.working // TOKENS, memory.condensed) for memory in (filled(policy, n) for n in (3, 4, 5, 6, 20))]
    assert sizes == [(2, 0), (1, 6), (2, 6), (1, 12), (1, 22)]
    # At 24 = 30 - 6 pixels it is full: the 16 = 24 - 8 most used ones stay, and 6 prototypes come.
    most = max(filled(policy, n).condensed for n in range(3, 30))
    assert most <= SHORT.most_tokens


def test_a_copy_goes_its_own_way():
    memory = filled(MemoryPolicy(long_term=SHORT), 5)
    other = copy(memory)
    before = memory.read(frame(9)[0], SIZE)
    for seed in range(20, 26):
        other.read(frame(seed)[0], SIZE)
        other.add(*frame(seed))
    assert torch.equal(memory.read(frame(9)[0], SIZE), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemoryPolicy(gap=0), "gap is at least 1, not 0"),
        (lambda: MemoryPolicy(frames=1), "frames is at least 2"),
        (lambda: LongTerm(most_frames=5, least_frames=5), "least_frames"),
        (lambda: LongTerm(most_tokens=2128), "most_tokens is above prototypes"),
        (lambda: PropagationSettings(short_side=8), "short_side is at least 16"),
    ],
)
def test_settings_without_sense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
