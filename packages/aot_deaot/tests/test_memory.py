"""What is remembered, and for how long."""

import pytest
import torch
from aot_deaot.errors import ConfigError
from aot_deaot.memory import Memory, TokenBuffer
from aot_deaot.settings import MemoryPolicy
from hypothesis import given
from hypothesis import strategies as st


def entry(frame, tokens=2, sets=3):
    """Keys shared by the object sets, values not; both hold the frame's number."""
    return (torch.full((1, 1, tokens, 1), float(frame)), torch.full((sets, 1, tokens, 4), float(frame)))


def stored(memory):
    keys, values = memory.long[0]
    assert keys.shape[2] == values.shape[2]
    assert torch.equal(keys[0, 0, :, 0], values[-1, 0, :, 0])
    return sorted({int(frame) for frame in keys.flatten()})


def filled(policy, frames, references=(0,)):
    memory = Memory(policy)
    for frame in range(frames):
        if frame in references:
            memory.add_reference([entry(frame)])
        else:
            memory.add_frame([entry(frame)])
    return memory


def test_every_gap_th_frame_is_stored():
    assert stored(filled(MemoryPolicy(long_term_gap=5), 17)) == [0, 5, 10, 15]


def test_no_gap_stores_the_key_frame_alone():
    assert stored(filled(MemoryPolicy(long_term_gap=None), 50)) == [0]


def test_short_term_memory_is_the_previous_frame_or_further_back():
    for skip in (1, 3):
        memory = filled(MemoryPolicy(long_term_gap=5, short_term_skip=skip), 17)
        assert memory.short[0][0].unique().item() == 17 - skip
    memory.add_reference([entry(99)])
    assert memory.short[0][0].unique().item() == 99


@given(st.integers(2, 6), st.integers(1, 60))
def test_the_cap_keeps_the_key_frame_and_the_newest(cap, frames):
    memory = filled(MemoryPolicy(long_term_gap=1, long_term_cap=cap), frames)
    everything = list(range(frames))
    assert stored(memory) == sorted({0, *everything[1:][-(cap - 1) :]})
    assert memory.tokens == 2 * min(cap, frames)


def test_no_reference_is_dropped():
    memory = filled(MemoryPolicy(long_term_gap=1, long_term_cap=4), 30, references=(0, 20))
    assert stored(memory) == [0, 20, 28, 29]


def test_references_beyond_the_cap_are_kept_too():
    memory = filled(MemoryPolicy(long_term_gap=1, long_term_cap=2), 6, references=(0, 1, 2))
    assert stored(memory) == [0, 1, 2]


def test_restarting_the_clock_matters_at_the_second_reference():
    for restart, expected in ((False, [0, 1]), (True, [0, 1, 2])):
        memory = Memory(MemoryPolicy(long_term_gap=3, restart_clock=restart))
        memory.add_reference([entry(0)])
        for _ in range(2):
            memory.add_frame([entry(50)])
        memory.add_reference([entry(1)])
        memory.add_frame([entry(2)])
        assert stored(memory) == expected


@given(st.lists(st.integers(1, 4), min_size=1, max_size=1), st.integers(1, 40))
def test_buffers_keep_what_was_appended(tokens, frames):
    buffer = TokenBuffer()
    for frame in range(frames):
        buffer.append(entry(frame, tokens=tokens[0]))
    keys, values = buffer.entry
    assert keys[0, 0, :, 0].tolist() == [frame for frame in range(frames) for _ in range(tokens[0])]
    assert values.shape == (3, 1, frames * tokens[0], 4)
    assert len(buffer) == frames * tokens[0]


@pytest.mark.parametrize(("field", "value"), [("long_term_cap", 1), ("short_term_skip", 0)])
def test_policies_without_sense_are_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        MemoryPolicy(long_term_gap=5, **{field: value})
