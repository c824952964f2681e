"""The losses of propagated masks, against calculations by hand."""

import math

import pytest
import torch
from aot_deaot.train.objective import PropagationCriterion, soft_jaccard, top_k_cross_entropy
from golden_cases import rounding


def logits_of(probabilities):
    """[..., S, H, W] from the probability of slot 1 at each pixel; the other slot is the background."""
    p = torch.tensor(probabilities)[None]
    return torch.stack([1 - p, p], dim=-3).log()


def test_the_cross_entropy_averages_the_worst_pixels_only():
    logits = logits_of([[0.9, 0.5], [0.2, 0.1]])
    labels = torch.tensor([[[1, 1], [1, 0]]])
    worst, second = -math.log(0.2), -math.log(0.5)
    assert top_k_cross_entropy(logits, labels, 0.25).tolist() == pytest.approx([worst], rel=rounding(1))
    assert top_k_cross_entropy(logits, labels, 0.5).tolist() == pytest.approx([(worst + second) / 2], rel=rounding(1))
    everything = -(math.log(0.9) + math.log(0.5) + math.log(0.2) + math.log(0.9)) / 4
    assert top_k_cross_entropy(logits, labels, 1.0).tolist() == pytest.approx([everything], rel=rounding(1))


def test_overlap_of_one_object():
    logits = logits_of([[0.9, 0.5], [0.2, 0.1]])
    labels = torch.tensor([[[1, 1], [0, 0]]])
    shared, union = 0.9 + 0.5, 1.7 + 2 - 1.4
    assert soft_jaccard(logits, labels).tolist() == pytest.approx([1 - shared / union], rel=rounding(1))


def test_overlap_is_the_mean_over_visible_objects():
    """Slot 2 has no pixel: it does not count, but for the probability that it takes from slot 1."""
    logits = torch.zeros(1, 3, 1, 2)
    labels = torch.tensor([[[1, 0]]])
    third = 1 / 3
    assert soft_jaccard(logits, labels).tolist() == pytest.approx(
        [1 - third / (1 + 2 * third - third)], rel=rounding(1)
    )
    assert soft_jaccard(logits, torch.zeros(1, 1, 2, dtype=torch.int64)).tolist() == [0]


def test_the_given_frame_has_a_weight_of_its_own():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 6, 8), torch.randint(0, 4, (2, 3, 6, 8))
    without, with_it = (
        PropagationCriterion(top_k_fraction=1, reference_weight=weight)(logits, labels) for weight in (0, 2)
    )
    later = without.terms["cross_entropy"], without.terms["jaccard"]
    torch.testing.assert_close(without.total, sum(later) / 2)
    torch.testing.assert_close(with_it.total, sum(later) / 2 + 2 * without.terms["reference"])
    expected = torch.nn.functional.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, 1:].flatten(0, 1))
    torch.testing.assert_close(later[0], expected)


@pytest.mark.parametrize(
    ("change", "name"), [({"top_k_fraction": 0}, "top_k_fraction"), ({"reference_weight": -1}, "reference_weight")]
)
def test_weights_are_checked(change, name):
    with pytest.raises(ValueError, match=name):
        PropagationCriterion(**{"top_k_fraction": 1, "reference_weight": 0, **change})
