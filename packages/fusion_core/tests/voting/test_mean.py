"""The vote on probabilities."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from fusion_core.errors import MemberError
from fusion_core.recipe.nodes import Pairing, Vote
from fusion_core.voting.fuse import fuse_video
from fusion_core.voting.mean import mean_masks
from mask_interchange import Expression, MaskTrack, VideoMasks, decode_mask, encode_runs

SIZE = (24, 32)


def soft(seed, frames=3, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (frames, *size), np.uint8)


def images_of(runs):
    return np.stack([decode_mask(mask, SIZE) for mask in encode_runs(runs)])


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(1, 3), Fraction(9, 10)])
def test_equals_the_mean_of_the_images(share):
    voters = [soft(seed) for seed in range(3)]
    expected = np.mean(voters, axis=0, dtype=np.float64) / 255 >= float(share) - 1e-9
    assert np.array_equal(images_of(mean_masks(voters, share, SIZE)), expected)


def test_small_maps_are_enlarged_before_the_vote():
    large, small = soft(0), soft(1, size=(6, 8))
    enlarged = [cv2.resize(frame.astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_LINEAR) for frame in small]
    expected = (large + np.stack(enlarged)) / 2 >= 255 / 2
    assert np.array_equal(images_of(mean_masks([large, small], Fraction(1, 2), SIZE)), expected)


def a_member(*values, soft=True):
    """One frame for each expression, of one probability everywhere."""
    tracks = []
    for key, value in enumerate(values):
        probabilities = np.full((1, *SIZE), value)
        kept = np.rint(probabilities * 255).astype(np.uint8) if soft else None
        tracks.append(MaskTrack.from_masks(Expression(id=str(key)), probabilities > 0.5, soft=kept))
    return VideoMasks(video="dog", size=SIZE, frame_names=("0",), tracks=tuple(tracks))


def a_vote(**changes):
    rule = {"threshold": 2, "out_of": 4, "pairing": Pairing.CONSECUTIVE, "rule": "mean"}
    return Vote(**{"name": "v", "members": ("a", "b"), **rule, **changes})


def areas(vote, *members):
    fused, agreements = fuse_video(vote, members)
    return [int(track.runs.areas().sum()) > 0 for track in fused.tracks], agreements


def test_one_certain_member_outweighs_a_hesitating_one():
    members = a_member(0.9, 0.9), a_member(0.3, 0.4)
    assert areas(a_vote(), *members)[0] == [True, True]
    assert areas(a_vote(rule="count", threshold=3), *members)[0] == [False, False]
    assert areas(a_vote(threshold=3), *members)[0] == [False, False]  # 0.625 is less than 3 of 4


def test_an_expression_left_over_has_its_own_share():
    members = a_member(0, 0, 0.9), a_member(0, 0, 0.3)
    assert areas(a_vote(leftover=1), *members)[0] == [False, False, True]
    assert areas(a_vote(leftover=2), *members)[0] == [False, False, False]


def test_agreement_is_that_of_the_members_masks():
    _, (one, other) = areas(a_vote(), a_member(0.9, 0.9), a_member(0.3, 0.4))
    pixels = SIZE[0] * SIZE[1]
    assert (one.votes, one.result, one.shared) == (2 * pixels, 2 * pixels, 2 * pixels)
    assert (other.votes, other.result, other.shared) == (0, 2 * pixels, 0)


def test_a_member_without_probabilities_is_named():
    with pytest.raises(MemberError, match=r"video dog: member b: expression '0' has no probabilities.*--soft-masks"):
        fuse_video(a_vote(), [a_member(0.9, 0.9), a_member(0.9, 0.9, soft=False)])


def test_a_member_that_is_given_twice_has_two_votes():
    """0.9, 0.9 and 0.3 have the mean 0.7; 0.9 and 0.3 have 0.6."""
    once = a_vote(threshold=2, out_of=3, pairing=Pairing.NONE, members=("a", "b", "a"))
    sure, hesitating = a_member(0.9), a_member(0.3)
    found, agreements = areas(once, sure, hesitating, sure)
    assert found == [True]
    assert agreements[0] == agreements[2] != agreements[1]
