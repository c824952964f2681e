"""Votes on run lengths against votes on images."""

from itertools import pairwise

import numpy as np
import pytest
from fusion_core.voting import count
from fusion_core.voting.count import count_votes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mask_interchange import decode_mask, decode_runs, encode_mask, encode_runs


def track(masks):
    """Run lengths of bool [T, H, W]."""
    return decode_runs([encode_mask(mask) for mask in masks])


def images_of(runs, size):
    """bool [T, H, W] of run lengths."""
    return np.stack([decode_mask(mask, size) for mask in encode_runs(runs)])


def picture(*rows):
    """bool [1, H, W]; # is foreground."""
    return np.array([[[sign == "#" for sign in row] for row in rows]])


A = picture(
    "##..",
    "##..",
    "....",
)
B = picture(
    ".##.",
    ".##.",
    "....",
)
C = picture(
    "....",
    ".##.",
    ".###",
)


@pytest.mark.parametrize(
    ("needed", "expected"),
    [
        (1, picture("###.", "###.", ".###")),
        (2, picture(".#..", ".##.", "....")),
        (3, picture("....", ".#..", "....")),
    ],
)
def test_three_voters(needed, expected):
    ballot = count_votes([track(A), track(B), track(C)], needed, (3, 4))
    assert np.array_equal(images_of(ballot.runs, (3, 4)), expected)
    assert ballot.area == expected.sum()
    assert ballot.areas.tolist() == [4, 4, 5]
    assert ballot.shared.tolist() == [(expected & mask).sum() for mask in (A, B, C)]


def test_a_tie_of_half_the_votes_is_foreground_only_if_half_is_enough():
    assert count_votes([track(A), track(~A)], 1, (3, 4)).area == 12
    assert count_votes([track(A), track(~A)], 2, (3, 4)).area == 0


def test_foreground_that_runs_on_into_the_next_frame_is_cut_there():
    full, empty = np.ones((1, 3, 4), bool), np.zeros((1, 3, 4), bool)
    frames = np.concatenate([A, full, full, empty, full])
    result = count_votes([track(frames)], 1, (3, 4)).runs
    decode_runs(encode_runs(result), (3, 4))
    assert encode_runs(result) == tuple(encode_mask(mask) for mask in frames)


@st.composite
def voters(draw):
    """bool [V, T, H, W]; each voter's frames may be sparse, dense, empty or full."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)))
    noise = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 99)))
    density = draw(arrays.arrays(np.uint8, (*shape[:2], 1, 1), elements=st.sampled_from([0, 10, 50, 90, 100])))
    return noise < density


@given(voters(), st.data())
def test_equals_the_vote_on_images(masks, data):
    needed = data.draw(st.integers(1, len(masks)))
    ballot = count_votes([track(voter) for voter in masks], needed, masks.shape[2:])
    expected = masks.sum(axis=0) >= needed
    assert encode_runs(ballot.runs) == tuple(encode_mask(mask) for mask in expected)
    assert ballot.area == expected.sum()
    assert ballot.areas.tolist() == masks.sum(axis=(1, 2, 3)).tolist()
    assert ballot.shared.tolist() == (masks & expected).sum(axis=(1, 2, 3)).tolist()


@given(voters(), st.data(), st.integers(1, 60))
def test_blocks_of_frames_change_nothing(masks, data, block):
    needed = data.draw(st.integers(1, len(masks)))
    tracks = [track(voter) for voter in masks]
    whole = count_votes(tracks, needed, masks.shape[2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(count, "BLOCK", block)
        parts = count_votes(tracks, needed, masks.shape[2:])
    assert encode_runs(parts.runs) == encode_runs(whole.runs)
    assert (parts.area, parts.areas.tolist(), parts.shared.tolist()) == (
        whole.area,
        whole.areas.tolist(),
        whole.shared.tolist(),
    )


@given(voters(), st.data())
def test_the_order_of_voters_does_not_matter(masks, data):
    needed = data.draw(st.integers(1, len(masks)))
    order = data.draw(st.permutations(range(len(masks))))
    one = count_votes([track(voter) for voter in masks], needed, masks.shape[2:])
    other = count_votes([track(masks[i]) for i in order], needed, masks.shape[2:])
    assert encode_runs(one.runs) == encode_runs(other.runs)
    assert one.shared[order].tolist() == other.shared.tolist()


@given(voters())
def test_a_higher_threshold_only_takes_pixels_away(masks):
    tracks = [track(voter) for voter in masks]
    results = [
        images_of(count_votes(tracks, n, masks.shape[2:]).runs, masks.shape[2:]) for n in range(1, len(masks) + 1)
    ]
    for looser, stricter in pairwise(results):
        assert not (stricter & ~looser).any()


@given(voters(), st.data())
def test_a_voter_repeated_is_itself(masks, data):
    times = data.draw(st.integers(1, 8))
    needed = data.draw(st.integers(1, times))
    ballot = count_votes([track(masks[0])] * times, needed, masks.shape[2:])
    assert encode_runs(ballot.runs) == encode_runs(track(masks[0]))
