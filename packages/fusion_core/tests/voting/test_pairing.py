"""Which expressions pool their votes."""

import numpy as np
import pytest
from fusion_core.errors import PairingError
from fusion_core.recipe.nodes import Pairing
from fusion_core.voting.pairing import Pool, consecutive, pools, walk
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import Expression, MaskTrack, VideoMasks

SIZE = (4, 6)


def disk(column):
    """bool [2, H, W]: a block of 3 columns that starts at `column`, in both frames."""
    mask = np.zeros((2, *SIZE), bool)
    mask[:, 1:3, column : column + 3] = True
    return mask


NOTHING = np.zeros((2, *SIZE), bool)


def member(*masks, groups=None):
    tracks = (
        MaskTrack.from_masks(Expression(id=str(i), group=groups[i] if groups else None), mask)
        for i, mask in enumerate(masks)
    )
    return VideoMasks(video="dog", size=SIZE, frame_names=("0", "1"), tracks=tuple(tracks))


def pooled(found):
    return [pool.expressions for pool in found], [pool.expressions[0] for pool in found if pool.leftover]


@pytest.mark.parametrize(
    ("count", "expected", "leftover"),
    [
        (0, [], []),
        (1, [(0,)], [0]),
        (2, [(0, 1)], []),
        (5, [(0, 1), (2, 3), (4,)], [4]),
    ],
)
def test_consecutive(count, expected, leftover):
    assert pooled(consecutive(count)) == (expected, leftover)


def test_groups_pool_all_expressions_of_an_object_wherever_they_stand():
    masks = [disk(0)] * 5
    found = pools(Pairing.GROUPS, [member(*masks, groups=["2", "1", "2", "2", "1"])])
    assert pooled(found) == ([(0, 2, 3), (1, 4)], [])


def test_groups_need_a_group_for_every_expression():
    with pytest.raises(PairingError, match=r"video dog: expression '1' has no group.*agreement"):
        pools(Pairing.GROUPS, [member(disk(0), disk(0), groups=["1", None])])


def test_auto_pools_what_the_data_set_names_and_nothing_else():
    masks = [disk(0)] * 5
    assert pooled(pools(Pairing.AUTO, [member(*masks)])) == ([(0,), (1,), (2,), (3,), (4,)], [])
    found = pools(Pairing.AUTO, [member(*masks, groups=["1", None, "2", "1", None])])
    assert pooled(found) == ([(0, 3), (1,), (2,), (4,)], [])


@pytest.mark.parametrize("pairing", [Pairing.AUTO, Pairing.GROUPS])
def test_any_member_may_know_the_groups(pairing):
    masks = [disk(0)] * 3
    unknown, partly, known = member(*masks), member(*masks, groups=["x", None, None]), member(*masks, groups="xyx")
    assert pooled(pools(pairing, [unknown, partly, known])) == ([(0, 2), (1,)], [])
    with pytest.raises(PairingError, match=r"video dog: .* expression '1' means the objects 'y', 'z'"):
        pools(pairing, [unknown, known, member(*masks, groups="xzx")])


def test_none_lets_every_expression_vote_alone():
    assert pooled(pools(Pairing.NONE, [member(disk(0), disk(0), disk(0))])) == ([(0,), (1,), (2,)], [])


@pytest.mark.parametrize(
    ("masks", "expected", "leftover"),
    [
        ([disk(0), disk(0), disk(3), disk(3)], [(0, 1), (2, 3)], []),
        ([disk(0), disk(3), disk(3)], [(0,), (1, 2)], []),  # an object with one expression does not shift the rest
        ([disk(0), disk(3)], [(0,), (1,)], []),
        ([disk(0), disk(0), disk(0)], [(0, 1), (2,)], [2]),  # as published: nobody is there to compare with
        ([disk(0), disk(3), disk(0)], [(0,), (1,), (2,)], []),
        ([disk(0), disk(1)], [(0, 1)], []),  # 2 of 4 columns: exactly one half is enough
        ([disk(0), disk(2)], [(0,), (1,)], []),
        ([NOTHING, NOTHING], [(0, 1)], []),
        ([disk(0), NOTHING], [(0,), (1,)], []),
    ],
)
def test_agreement_of_one_member(masks, expected, leftover):
    assert pooled(pools(Pairing.AGREEMENT, [member(*masks)])) == (expected, leftover)


def test_agreement_is_the_mean_over_members_that_see_something():
    same, other, blind = member(disk(0), disk(0)), member(disk(0), disk(3)), member(NOTHING, NOTHING)
    assert len(pools(Pairing.AGREEMENT, [same, other])) == 1  # mean 1/2
    assert len(pools(Pairing.AGREEMENT, [same, other, other])) == 2  # mean 1/3
    assert len(pools(Pairing.AGREEMENT, [other, blind, blind])) == 2
    assert len(pools(Pairing.AGREEMENT, [same, blind, blind])) == 1


columns = st.lists(st.integers(0, 3), min_size=0, max_size=7)


@given(st.sampled_from(Pairing), st.lists(columns, min_size=1, max_size=3))
def test_every_expression_is_in_exactly_one_pool(pairing, places):
    count = min(map(len, places))
    members = [member(*map(disk, one[:count]), groups=["g"] * count) for one in places]
    found = [index for pool in pools(pairing, members) for index in pool.expressions]
    assert sorted(found) == list(range(count))


@given(st.integers(1, 7), st.integers(1, 3), st.integers(0, 3))
def test_agreement_is_consecutive_where_all_masks_agree(count, members, column):
    found = pools(Pairing.AGREEMENT, [member(*[disk(column)] * count)] * members)
    assert found == consecutive(count)


@given(columns, columns)
def test_the_order_of_members_does_not_change_the_agreement(one, other):
    count = min(len(one), len(other))
    members = [member(*map(disk, one[:count])), member(*map(disk, other[:count]))]
    assert pools(Pairing.AGREEMENT, members) == pools(Pairing.AGREEMENT, members[::-1])


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_a_walk_never_mixes_objects_that_it_is_told_apart(objects):
    for pool in walk(len(objects), lambda one, other: objects[one] == objects[other]):
        assert len({objects[index] for index in pool.expressions}) == 1


def test_a_walk_asks_about_neighbours_only():
    asked = []
    walk(4, lambda one, other: asked.append((one, other)) or one == 1)
    assert asked == [(0, 1), (1, 2)]
    assert walk(1, lambda *_: True) == (Pool((0,), leftover=True),)
