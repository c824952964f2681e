"""Choose, gate and rescore, one video at a time."""

import numpy as np
import pytest
from fusion_core.errors import MemberError, RecipeError
from fusion_core.recipe.nodes import Choose, Gate, Rescore
from fusion_core.voting.combine import combine_video
from mask_interchange import Expression, MaskTrack, VideoMasks

SIZE = (4, 10)


def bars(*widths):
    """A mask for each width: a bar of so many columns from the left."""
    masks = np.zeros((len(widths), *SIZE), bool)
    for mask, width in zip(masks, widths, strict=True):
        mask[:, :width] = True
    return masks


def a_run(*tracks, scores=None, ids=None, soft=False):
    """Tracks given by the widths of their bars."""
    made = []
    for index, widths in enumerate(tracks):
        masks = bars(*widths)
        made.append(
            MaskTrack.from_masks(
                Expression(id=(ids or "012")[index]),
                masks,
                scores=None if scores is None else scores[index],
                soft=masks.astype(np.uint8) * 255 if soft else None,
            )
        )
    return VideoMasks(video="dog", size=SIZE, frame_names=tuple(map(str, range(len(tracks[0])))), tracks=tuple(made))


def widths(run):
    return [[int(mask[0].sum()) for mask in track.stack()] for track in run.tracks]


def test_choose_takes_whole_tracks_of_whom_the_judges_agree_with():
    one = a_run((4, 4), (1, 1), scores=[(0.1, 0.2), (0.3, 0.4)])
    other = a_run((8, 8), (6, 6), scores=[(0.5, 0.6), (0.8, 0.7)])
    judge = a_run((5, 5), (7, 7))
    made, agreements = combine_video(Choose(name="c", members=("a", "b"), judges=("j",)), [one, other, judge])
    assert widths(made) == [[4, 4], [6, 6]]
    assert made.tracks[1] == other.tracks[1]
    assert made.tracks[0].scores.tolist() == one.tracks[0].scores.tolist()
    assert agreements[0].votes == one.tracks[0].runs.areas().sum() + one.tracks[1].runs.areas().sum()


def test_choose_without_judges_takes_the_one_that_is_most_like_the_others():
    runs = [a_run((1, 1)), a_run((5, 5)), a_run((6, 6))]
    assert widths(combine_video(Choose(name="c", members=("a", "b", "c")), runs)[0]) == [[5, 5]]


def test_choose_takes_the_first_on_ties():
    runs = [a_run((2, 2)), a_run((8, 8)), a_run((0, 0))]
    assert widths(combine_video(Choose(name="c", members=("a", "b"), judges=("j",)), runs)[0]) == [[2, 2]]


def test_chosen_tracks_have_the_expressions_and_the_order_of_the_first_member():
    one, other = a_run((4, 4), (1, 1)), a_run((6, 6), (8, 8), ids="10")
    judge = a_run((8, 8), (6, 6))
    made, _ = combine_video(Choose(name="c", members=("a", "b"), judges=("j",)), [one, other, judge])
    assert made.expression_ids == ("0", "1")
    assert widths(made) == [[8, 8], [6, 6]]


@pytest.mark.parametrize(
    ("members", "judges"), [(("a",), ("b",)), (("a", "a"), ("b",)), (("a", "b"), ()), (("a", "b", "c"), ("a",))]
)
def test_a_choice_that_cannot_be_made(members, judges):
    with pytest.raises(RecipeError, match="choose 'c': "):
        Choose(name="c", members=members, judges=judges)


def test_gate_empties_tracks_below_the_limit():
    source = a_run((4, 4), (5, 5), scores=[(0.1, 0.3), (0.2, 0.29)], soft=True)
    made, _ = combine_video(Gate(name="g", source="a", threshold=float(np.float32(0.3))), [source])
    assert widths(made) == [[4, 4], [0, 0]]
    assert made.tracks[0] == source.tracks[0]
    emptied = made.tracks[1]
    assert (emptied.scores.tolist(), emptied.key_frame) == (source.tracks[1].scores.tolist(), 1)
    assert not emptied.soft.any()


def test_gate_may_take_the_scores_of_another_run():
    source, other = a_run((4, 4), (5, 5)), a_run((1, 1), (1, 1), scores=[(0.9, 0), (0.1, 0)])
    assert widths(combine_video(Gate(name="g", source="a", threshold=0.5, scores="b"), [source, other])[0]) == [
        [4, 4],
        [0, 0],
    ]
    with pytest.raises(MemberError, match="video dog: a: expression '0' has no scores, which the gate g needs"):
        combine_video(Gate(name="g", source="a", threshold=0.5), [source])


def test_rescore_finds_the_frame_that_the_judges_agree_with():
    source = a_run((4, 8), (2, 2), (0, 0), scores=[(0.9, 0.1)] * 3)
    one, other = a_run((8, 8), (1, 2), (0, 0)), a_run((4, 6), (1, 2), (0, 5))
    made, _ = combine_video(Rescore(name="r", source="a", judges=("b", "c")), [source, one, other])
    assert widths(made) == widths(source)
    np.testing.assert_allclose(made.tracks[0].scores, [(0.5 + 1) / 2, (1 + 0.75) / 2])
    assert [track.key_frame for track in made.tracks] == [1, 1, 0]
    assert made.tracks[2].scores.tolist() == [0, 0]  # no mask is no key frame, though judges agree in frame 0


def test_of_several_best_frames_the_one_in_the_middle_is_the_key_frame():
    """The first frame is as far from the others as can be, so masks would be carried farthest from there."""
    source, judge = a_run((4, 4, 4, 4, 4), (4, 4, 4, 4, 4)), a_run((4, 4, 4, 4, 4), (4, 2, 2, 2, 4))
    made, _ = combine_video(Rescore(name="r", source="a", judges=("b",)), [source, judge])
    assert [track.key_frame for track in made.tracks] == [2, 0]
    nothing = a_run((0, 0, 0), (0, 0, 0))
    assert combine_video(Rescore(name="r", source="a", judges=("b",)), [nothing, nothing])[0].tracks[0].key_frame == 1


def test_a_run_cannot_judge_itself():
    with pytest.raises(RecipeError, match="rescore 'r': expected one or more judges"):
        Rescore(name="r", source="a", judges=("a",))


def test_inputs_must_match():
    with pytest.raises(MemberError, match="video dog: member b: expressions"):
        combine_video(Rescore(name="r", source="a", judges=("b",)), [a_run((1, 1)), a_run((1, 1), (2, 2))])
