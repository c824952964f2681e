"""One video's members become one fused video."""

import numpy as np
import pytest
from fusion_core.errors import MemberError
from fusion_core.recipe.nodes import Pairing, Vote
from fusion_core.voting import fuse
from fusion_core.voting.fuse import MemberAgreement, fuse_video
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import Expression, MaskTrack, VideoMasks

SIZE = (3, 4)
FRAMES = ("00000", "00005")


def a_member(seed, ids=("0", "1", "2"), *, size=SIZE, frames=FRAMES, text="the dog", group=None, support=False):
    rng = np.random.default_rng(seed)
    tracks = tuple(
        MaskTrack.from_masks(
            Expression(id=id_, text=text, group=group),
            rng.random((len(frames), *size)) < 0.5,
            scores=rng.random(len(frames)),
            support=np.ones((len(frames), *size), bool) if support else None,
        )
        for id_ in ids
    )
    return VideoMasks(video="dog", size=size, frame_names=frames, tracks=tracks)


def a_vote(count=3, **changes):
    names = tuple("abcdef"[:count])
    rule = {"threshold": count, "out_of": 2 * count, "pairing": Pairing.CONSECUTIVE}
    return Vote(**{"name": "v", "members": names, **rule, **changes})


def sum_of(members, *expressions):
    """int [T, H, W]: votes of some expressions."""
    return sum(member.track(id_).stack().astype(int) for member in members for id_ in expressions)


def test_a_pair_shares_masks_and_keeps_its_own_scores_and_key_frames():
    members = [a_member(seed) for seed in range(3)]
    fused, _ = fuse_video(a_vote(), members)
    one, other, _ = fused.tracks
    assert one.masks == other.masks
    assert np.array_equal(one.stack(), sum_of(members, "0", "1") >= 3)
    for track, of_first in zip(fused.tracks, members[0].tracks, strict=True):
        assert track.expression == of_first.expression
        assert np.array_equal(track.scores, of_first.scores)
        assert track.key_frame == of_first.key_frame


def test_the_masks_of_a_pool_are_voted_once(monkeypatch):
    calls = []

    def counted(voters, needed, size, vote=fuse.count_votes):
        calls.append(len(voters))
        return vote(voters, needed, size)

    monkeypatch.setattr(fuse, "count_votes", counted)
    fuse_video(a_vote(leftover=2), [a_member(seed) for seed in range(3)])
    assert calls == [6, 3]


@pytest.mark.parametrize(
    ("leftover", "expected"),
    [
        ("first", lambda members: members[0].track("2").stack()),
        (1, lambda members: sum_of(members, "2") >= 1),
        (3, lambda members: sum_of(members, "2") >= 3),
        (None, lambda members: sum_of(members, "2") >= 2),  # 3 of 6 is 2 of 3
    ],
)
def test_the_expression_left_over(leftover, expected):
    members = [a_member(seed) for seed in range(3)]
    fused, _ = fuse_video(a_vote(leftover=leftover), members)
    assert np.array_equal(fused.track("2").stack(), expected(members))


def test_a_faithful_vote_takes_the_support_of_the_expression_left_over():
    members = [a_member(0, support=True), a_member(1)]
    vote = a_vote(2, leftover="first", leftover_takes_support=True)
    corrected, faithful = fuse_video(vote.corrected(), members)[0], fuse_video(vote, members)[0]
    assert np.array_equal(corrected.track("2").stack(), members[0].track("2").stack())
    assert faithful.track("2").stack().all()
    assert corrected.tracks[:2] == faithful.tracks[:2]


def test_a_faithful_vote_needs_support():
    vote = a_vote(2, leftover="first", leftover_takes_support=True)
    with pytest.raises(MemberError, match=r"video dog: member a: expression '2' has no support masks.*--faithful"):
        fuse_video(vote, [a_member(0), a_member(1)])
    fuse_video(vote, [a_member(0, ids=("0", "1")), a_member(1, ids=("0", "1"))])  # nobody is left over


def test_expressions_that_do_not_pool_vote_alone_by_the_same_share():
    members = [a_member(seed) for seed in range(3)]
    fused, _ = fuse_video(a_vote(leftover="first", pairing=Pairing.NONE), members)
    for id_ in "012":
        assert np.array_equal(fused.track(id_).stack(), sum_of(members, id_) >= 2)


def test_all_expressions_of_a_group_vote_together():
    members = [a_member(seed, group="7") for seed in range(2)]
    fused, _ = fuse_video(a_vote(2, pairing=Pairing.GROUPS), members)
    for track in fused.tracks:
        assert np.array_equal(track.stack(), sum_of(members, *"012") >= 3)


def test_the_first_member_gives_the_order_of_expressions():
    first, second = a_member(0, ids=("10", "2", "0")), a_member(1, ids=("0", "2", "10"))
    fused, _ = fuse_video(a_vote(2), [first, second])
    assert fused.expression_ids == ("10", "2", "0")
    assert np.array_equal(fused.track("10").stack(), sum_of([first, second], "10", "2") >= 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (4, 3)}, r"video dog: member b: size 4x3, but 3x4 in member a"),
        ({"frames": ("00000",)}, r"video dog: member b: number of frames 1, but 2 in member a"),
        ({"frames": ("00000", "5")}, r"member b: frame 1 is called '5', but '00005' in member a"),
        ({"ids": ("0", "1")}, r"member b: expressions \['0', '1'\], but \['0', '1', '2'\] in member a"),
        ({"text": "the cat"}, r"member b: text of expression '0' is 'the cat', but 'the dog' in member a"),
        ({"group": "1"}, r"member b: group of expression '0' is '1', but '9' in member a"),
    ],
)
def test_members_that_do_not_fit_are_named(changes, message):
    with pytest.raises(MemberError, match=message):
        fuse_video(a_vote(2), [a_member(0, group="9"), a_member(1, **{"group": "9", **changes})])


def test_a_member_without_expressions_fits():
    fused, _ = fuse_video(a_vote(2), [a_member(0), a_member(1, text=None)])
    assert fused.tracks[0].expression.text == "the dog"


@given(st.integers(1, 4), st.integers(1, 6), st.sampled_from(["consecutive", "none", "agreement"]), st.data())
def test_agreements_count_pixels(count, expressions, pairing, data):
    members = [a_member(seed, ids=tuple(map(str, range(expressions)))) for seed in range(count)]
    vote = a_vote(count, threshold=data.draw(st.integers(1, 2 * count)), pairing=Pairing(pairing))
    fused, agreements = fuse_video(vote, members)
    result = np.stack([track.stack() for track in fused.tracks])
    for member, agreement in zip(members, agreements, strict=True):
        masks = np.stack([track.stack() for track in member.tracks])
        assert agreement == MemberAgreement(votes=masks.sum(), result=result.sum(), shared=(masks & result).sum())


def test_shares_of_a_standing():
    agreement = MemberAgreement(votes=10, result=20, shared=5) + MemberAgreement(votes=10, result=0, shared=0)
    assert (agreement.iou, agreement.overruled, agreement.missed) == (5 / 35, 0.75, 0.75)
    assert (MemberAgreement().iou, MemberAgreement().overruled, MemberAgreement().missed) == (1, 0, 0)
