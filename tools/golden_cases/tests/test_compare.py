"""What counts as rounding and what as a mistake."""

import numpy as np
import pytest
from golden_cases import NETWORK, StageReport, assert_close, rounding

EPSILON = np.finfo(np.float32).eps


def sums(random: np.random.Generator, layers: int, backwards: bool) -> np.ndarray:
    """Float32 layers of 256 sums of products each, normalised; the order of their terms is free."""
    x = random.standard_normal((64, 256), dtype=np.float32)
    order = slice(None, None, -1 if backwards else 1)
    for _ in range(layers):
        weight = random.standard_normal((256, 256), dtype=np.float32)
        terms = (x[:, :, None] * weight)[:, order]
        x = np.add.accumulate(terms, axis=1)[:, -1]  # one by one: the order that rounds worst
        x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return x


@pytest.mark.parametrize("layers", [1, 9])
def test_the_order_of_a_sum_is_rounding(layers):
    one, other = (sums(np.random.default_rng(0), layers, backwards) for backwards in (False, True))
    assert (one != other).any()
    assert_close(one, other, layers)


def test_rounding_grows_with_size_and_depth_and_precision():
    assert rounding([-3.0, 2.0]) == 3 * rounding(1)
    assert rounding(1, layers=9) == 3 * rounding(1)
    assert rounding(1, epsilon=2 * EPSILON) == 2 * rounding(1)
    assert rounding(1, layers=0) == rounding([]) == rounding([0.0]) == 0


def test_the_deepest_network_may_be_off_by_less_than_a_mistake():
    """A wrong epsilon of a normalisation, 1e-5 for 1e-12, changes features of variance 0.01 by 5e-4."""
    features = np.random.default_rng(0).normal(0, 0.1, 10_000).astype(np.float32)
    right, wrong = (features / np.sqrt(features.var() + epsilon) for epsilon in (1e-12, 1e-5))
    with pytest.raises(AssertionError, match="moved"):
        assert_close(wrong, right, NETWORK)


def test_report_names_the_first_stage_that_moved():
    report = StageReport("case")
    report.add("first", [0.0], [0.05], 0.1)
    report.add("second", [1.0], [1.0 + 2 * rounding(1, NETWORK)])
    report.add("third", [np.nan], [1.0])
    with pytest.raises(AssertionError, match="first stage that moved is 'second'"):
        report.check()
    with pytest.raises(AssertionError, match="nothing was compared"):
        StageReport("empty").check()
