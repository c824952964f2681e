"""Matching and losses against definitions written another way, and the cases that the published code gets wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import assert_close, rounding
from hypothesis import given
from hypothesis import strategies as st
from random_predictions import CLIPS, FRAMES, QUERIES, Leaves, random_targets
from rvos_training.errors import TrainingError
from rvos_training.losses.criterion import Criterion, all_frames, visible_frames
from rvos_training.losses.mask_views import every_fourth_pixel, frames_at_full_size
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import LossWeights, giou
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_convert, generalized_box_iou

WEIGHTS = LossWeights(label=2, box=2, giou=2, focal=2, dice=5)
VIEWS = (frames_at_full_size, every_fourth_pixel)
ONE_HIDDEN = torch.tensor([[True, False, True], [True, True, True]])
NEVER_SEEN = torch.tensor([[False, False, False], [True, True, True]])


def matcher(view=frames_at_full_size, faithful: bool = False) -> Matcher:
    return Matcher(cost_weights=WEIGHTS, view=view, faithful=faithful)


def criterion(view=frames_at_full_size, faithful: bool = False, count=all_frames) -> Criterion:
    return Criterion(matcher=matcher(view, faithful), loss_weights=WEIGHTS, similarity_weight=1, count=count)


@given(st.integers(0, 10_000))
def test_giou_is_torchvisions(seed):
    random = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 5, 4, generator=random).mul(0.5).add(0.1).double()
    expected = generalized_box_iou(*(box_convert(boxes, "cxcywh", "xyxy") for boxes in (a, b))).diagonal()
    torch.testing.assert_close(giou(a, b), expected, atol=2e-4, rtol=0)  # 1e-6 of areas above 0.01, twice


def test_boxes_without_area_have_a_finite_giou():
    nothing, corner = torch.zeros(4), torch.tensor((1.0, 0.0, 0.0, 0.0))
    assert giou(nothing, nothing).isfinite()
    assert giou(nothing, corner).isfinite()


@pytest.mark.parametrize("view", VIEWS)
@given(seed=st.integers(0, 10_000))
def test_the_assignment_is_the_linear_one(view, seed):
    predictions, targets = Leaves(seed).predictions, random_targets(ONE_HIDDEN, seed)
    costs = matcher(view).costs(predictions, targets)
    queries = matcher(view)(predictions, targets)
    assert queries.tolist() == [linear_sum_assignment(cost[:, None].numpy())[0][0] for cost in costs]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("query", range(QUERIES))
def test_the_query_that_says_the_truth_is_chosen(view, query):
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    with torch.no_grad():
        leaves.boxes[:, :, query] = targets.boxes
        leaves.logits[:, :, query, 0] = 4.0 * targets.visible
        cells = targets.masks[:, :, 2::4, 2::4]
        leaves.masks[:, :, query] = 8.0 * cells - 4
    assert matcher(view)(leaves.predictions, targets).tolist() == [query] * CLIPS


@pytest.mark.parametrize("view", VIEWS)
def test_the_truth_costs_nothing(view):
    visible = torch.ones(1, 2, dtype=torch.bool)
    cells = torch.zeros(1, 2, 3, 3, dtype=torch.bool)
    cells[..., 1:, :] = True
    masks = cells.repeat_interleave(4, 2).repeat_interleave(4, 3)
    boxes = torch.tensor((0.5, 2 / 3, 1.0, 2 / 3)).expand(1, 2, 4)
    targets = Targets(boxes=boxes, masks=masks, visible=visible)
    certain = torch.tensor((40.0, -40.0)).expand(1, 2, 2)[..., None]
    predictions = Predictions(
        logits=certain,
        boxes=boxes[:, :, None].expand(1, 2, 2, 4),
        predict_masks=lambda queries: (80.0 * cells[:, :, None] - 40).expand(-1, -1, queries.shape[1], -1, -1),
        similarity=torch.tensor(((40.0, -40.0),)),
    )
    losses = criterion(view)([predictions], targets)
    assert losses.queries.tolist() == [[0]]
    smeared = {"focal": 0.3, "dice": 0.1} if view is frames_at_full_size else {}  # enlarged masks have soft edges
    for name, value in losses.terms.items():
        assert value <= smeared.get(name, 2e-4), name


@pytest.mark.parametrize("view", VIEWS)
def test_masks_of_matched_queries_alone_give_the_gradient_of_all_masks(view):
    targets, lazy, eager = random_targets(ONE_HIDDEN), Leaves(), Leaves()
    criterion(view)([lazy.predictions], targets).total.backward()
    all_masks = eager.masks * 1.0
    each = torch.arange(CLIPS)[:, None]
    predictions = Predictions(
        logits=eager.logits,
        boxes=eager.boxes,
        predict_masks=lambda queries: all_masks.transpose(1, 2)[each, queries].transpose(1, 2),
        similarity=eager.similarity,
    )
    criterion(view)([predictions], targets).total.backward()
    assert_close(lazy.masks.grad, eager.masks.grad)
    trained = lazy.masks.grad.flatten(3).abs().sum((1, 3)) > 0
    assert trained.sum(1).tolist() == [1] * CLIPS


def test_boxes_of_frames_without_the_object_are_not_trained():
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    losses = criterion()([leaves.predictions], targets)
    losses.total.backward()
    query = losses.queries[0, 0]
    moved = leaves.boxes.grad[0, :, query].abs().sum(-1) > 0
    assert moved.tolist() == ONE_HIDDEN[0].tolist()


def test_faithful_trains_boxes_of_frames_without_the_object():
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    losses = criterion(faithful=True)([leaves.predictions], targets)
    losses.total.backward()
    query = losses.queries[0, 0]
    assert (leaves.boxes.grad[0, :, query].abs().sum(-1) > 0).all()
    shrinking = leaves.boxes.grad[0, 1, query, 2:]
    assert (shrinking > 0).all(), "the box of the hidden frame is pulled towards the empty one"


@pytest.mark.parametrize("view", VIEWS)
def test_a_clip_that_never_shows_its_object_teaches_silence(view):
    targets, leaves = random_targets(NEVER_SEEN), Leaves()
    losses = criterion(view)([leaves.predictions], targets)
    losses.total.backward()
    assert losses.total.isfinite()
    assert (leaves.logits.grad[0] > 0).all(), "every query learns to say no"
    assert not leaves.boxes.grad[0].any()


def test_faithful_stops_at_a_clip_that_never_shows_its_object():
    with pytest.raises(TrainingError, match="without --faithful"):
        criterion(faithful=True)([Leaves().predictions], random_targets(NEVER_SEEN))


def test_faithful_takes_a_single_frame_without_the_object():
    targets = random_targets(torch.tensor([[False], [True]]))
    assert criterion(faithful=True)([Leaves(frames=1).predictions], targets).total.isfinite()


def test_clips_of_a_batch_do_not_touch_each_other():
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    together = criterion()([leaves.predictions], targets)
    for clip in range(CLIPS):
        some = slice(clip, clip + 1)
        alone = Leaves()
        for name in ("logits", "boxes", "masks", "similarity"):
            setattr(alone, name, getattr(leaves, name)[some])
        cut = Targets(boxes=targets.boxes[some], masks=targets.masks[some], visible=targets.visible[some])
        assert matcher()(alone.predictions, cut).tolist() == together.queries[0, some].tolist()


@pytest.mark.parametrize(("count", "expected"), [(all_frames, CLIPS * FRAMES), (visible_frames, 5)])
def test_what_sums_are_divided_by(count, expected):
    targets = random_targets(ONE_HIDDEN)
    assert count(targets) == expected
    with torch.no_grad():
        one = criterion(count=count)([Leaves().predictions], targets).terms
        undivided = criterion(count=lambda _: 1)([Leaves().predictions], targets).terms
    for name in ("label", "box", "giou", "focal", "dice"):
        assert float(one[name]) == pytest.approx(float(undivided[name]) / expected, rel=rounding(1))
    assert float(one["similarity"]) == pytest.approx(float(undivided["similarity"]), rel=rounding(1))


def test_every_layer_is_matched_by_itself_and_named():
    targets, layers = random_targets(), [Leaves(seed).predictions for seed in range(3)]
    losses = criterion()(layers, targets)
    assert losses.queries.tolist() == [matcher()(layer, targets).tolist() for layer in layers]
    alone = [criterion()([layer], targets) for layer in layers]
    assert float(losses.total) == pytest.approx(sum(float(one.total) for one in alone), rel=rounding(1))
    assert float(losses.terms["dice_1"]) == pytest.approx(float(alone[1].terms["dice"]), rel=rounding(1))
    assert float(losses.terms["dice"]) == pytest.approx(float(alone[2].terms["dice"]), rel=rounding(1))


@pytest.mark.parametrize(("view", "by_frame"), [(frames_at_full_size, True), (every_fourth_pixel, False)])
def test_the_label_may_tell_how_well_the_mask_fits(view, by_frame):
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    losses = replace(criterion(view), quality=True)([leaves.predictions], targets)
    each, queries = torch.arange(CLIPS), losses.queries[0]
    logits = leaves.masks[each, :, queries]
    if by_frame:
        logits = torch.nn.functional.interpolate(logits, scale_factor=4.0, mode="bilinear")
    masks, truth = logits > 0, targets.masks if by_frame else targets.masks[..., 2::4, 2::4]
    over = (2, 3) if by_frame else (1, 2, 3)
    overlap = ((masks & truth).sum(over) / (masks | truth).sum(over)).view(CLIPS, -1).expand(-1, FRAMES) * ONE_HIDDEN
    expected = torch.zeros(CLIPS, FRAMES, QUERIES, 1)
    expected[each, :, queries, 0] = overlap
    p = leaves.logits.sigmoid()
    entropy = -expected * p.log() - (1 - expected) * (1 - p).log()
    by_hand = (entropy * (p - expected) ** 2).sum() / all_frames(targets)
    assert float(losses.terms["label"].detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
    assert 0 < overlap[0, 0] < 1
    assert overlap[0, 1] == 0, "not visible"


def test_targets_must_belong_together():
    with pytest.raises(ValueError, match="must be"):
        Targets(boxes=torch.zeros(1, 2, 4), masks=torch.zeros(1, 3, 8, 8), visible=torch.zeros(1, 2))


def test_loss_weights_must_not_be_negative():
    with pytest.raises(ValueError, match="negative"):
        LossWeights(label=1, box=1, giou=1, focal=-1, dice=1)


def test_the_label_loss_by_hand():
    targets, leaves = random_targets(ONE_HIDDEN), Leaves()
    losses = criterion()([leaves.predictions], targets)
    p = 1 / (1 + np.exp(-leaves.logits.detach().double().numpy()[..., 0]))
    truth = np.zeros(p.shape, bool)
    for clip, query in enumerate(losses.queries[0].tolist()):
        truth[clip, :, query] = ONE_HIDDEN[clip]
    expected = (
        np.where(truth, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).sum() / truth.size * QUERIES
    )
    assert float(losses.terms["label"]) == pytest.approx(expected, rel=rounding(1))
