import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.metrics import boundary_map, contour_accuracy, region_similarity, statistics, tolerance_in_pixels

SIZES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)


@st.composite
def masks(draw, count):
    size = draw(SIZES)
    return [draw(arrays(bool, size)) for _ in range(count)]


def picture(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def boundary_pixels(mask):
    """Written from the definition, pixel by pixel."""
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            y + dy < height and x + dx < width and mask[y, x] != mask[y + dy, x + dx]
            for dy, dx in [(0, 1), (1, 0), (1, 1)]
        )
    ]


def f_from_distances(truth, prediction, radius):
    a, b = boundary_pixels(truth), boundary_pixels(prediction)
    if not a or not b:
        return float(len(a) == len(b))

    def near(pixels, others):
        return sum(min(math.dist(p, q) for q in others) <= radius for p in pixels) / len(pixels)

    precision, recall = near(b, a), near(a, b)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(masks(2), st.sampled_from([1, 2, 3, 5]))
def test_f_equals_its_definition_by_distances(pair, radius):
    truth, prediction = pair
    assert contour_accuracy(truth, prediction, tolerance=radius) == f_from_distances(truth, prediction, radius)


@given(masks(1))
def test_boundary_map_equals_its_definition(one):
    (mask,) = one
    assert [tuple(pixel) for pixel in np.argwhere(boundary_map(mask))] == boundary_pixels(mask)


@given(masks(2))
def test_scores_are_symmetric_and_between_0_and_1(pair):
    a, b = pair
    for measure in (region_similarity, contour_accuracy):
        assert measure(a, b) == measure(b, a)
        assert 0 <= measure(a, b) <= 1
        assert measure(a, a) == 1


@given(masks(2), st.integers(0, 40), st.integers(0, 40))
def test_scores_do_not_depend_on_where_in_a_large_image_the_masks_lie(pair, dy, dx):
    # A frame of background keeps the masks off the border, where boundaries end.
    def placed(mask, y, x):
        canvas = np.zeros((80, 80), bool)
        canvas[y + 1 : y + 1 + mask.shape[0], x + 1 : x + 1 + mask.shape[1]] = mask
        return canvas

    here, there = ([placed(mask, *offset) for mask in pair] for offset in ((0, 0), (dy, dx)))
    assert region_similarity(*here) == region_similarity(*there)
    assert contour_accuracy(*here, tolerance=2) == contour_accuracy(*there, tolerance=2)


@given(masks(3))
def test_void_pixels_change_nothing(three):
    truth, prediction, void = three
    for measure in (region_similarity, contour_accuracy):
        score = measure(truth, prediction, void)
        assert score == measure(truth & ~void, prediction & ~void)
        assert score == measure(truth | void, prediction & ~void, void)


EMPTY, FULL = np.zeros((12, 20), bool), np.ones((12, 20), bool)
BLOB = np.zeros((12, 20), bool)
BLOB[3:8, 5:11] = True


@pytest.mark.parametrize(
    ("truth", "prediction", "j", "f"),
    [
        pytest.param(EMPTY, EMPTY, 1, 1, id="both empty"),
        pytest.param(EMPTY, BLOB, 0, 0, id="truth empty"),
        pytest.param(BLOB, EMPTY, 0, 0, id="prediction empty"),
        pytest.param(FULL, FULL, 1, 1, id="both full"),
        pytest.param(FULL, EMPTY, 0, 1, id="full against empty: neither has a boundary"),
        pytest.param(BLOB, ~BLOB, 0, 1, id="complement: the same boundary"),
        pytest.param(FULL, BLOB, BLOB.mean(), 0, id="full against a blob"),
    ],
)
def test_borderline_masks(truth, prediction, j, f):
    assert region_similarity(truth, prediction) == j
    assert contour_accuracy(truth, prediction) == f


def test_no_boundary_along_the_image_border():
    mask = picture(
        "##..",
        "##..",
        "....",
    )
    expected = picture(
        ".#..",
        "##..",
        "....",
    )
    np.testing.assert_array_equal(boundary_map(mask), expected)


def test_last_row_looks_right_and_last_column_looks_down():
    mask = picture(
        "..#",
        "...",
        "#..",
    )
    expected = picture(
        ".##",
        "#..",
        "#..",
    )
    np.testing.assert_array_equal(boundary_map(mask), expected)


@pytest.mark.parametrize(
    ("size", "pixels"), [((360, 640), 6), ((480, 854), 8), ((720, 1280), 12), ((10, 10), 1), ((300, 400), 4)]
)
def test_tolerance_is_a_share_of_the_diagonal(size, pixels):
    assert tolerance_in_pixels(size) == pixels
    assert tolerance_in_pixels(size, 3) == 3


@pytest.mark.parametrize(("length", "quarter"), [(1, 1), (4, 2), (8, 3), (300, 76), (1000, 251)])
def test_decay_compares_the_first_quarter_with_the_last_at_any_length(length, quarter):
    values = np.linspace(1, 0, length)
    # Neighbouring quarters share a frame. With 8-bit borders a length above 256 would compare other frames.
    expected = values[:quarter].mean() - values[-quarter:].mean()
    assert statistics(values).decay == pytest.approx(expected, abs=1e-12)


def test_frames_without_a_score_count_for_no_mean_and_as_a_miss():
    values = statistics([np.nan, 1.0, 0.8, 0.2, np.nan])
    assert values.mean == pytest.approx(2 / 3)
    assert values.recall == pytest.approx(2 / 5)


def test_recall_is_strictly_above_one_half():
    assert statistics([0.5, 0.5 + 1e-12]).recall == 0.5


@pytest.mark.parametrize(
    ("truth", "prediction", "words"),
    [
        (np.zeros((4, 4), bool), np.zeros((4, 5), bool), "prediction is 4x5 but truth is 4x4"),
        (np.zeros((4, 4), bool), np.zeros((4, 4), np.uint8), "prediction must be a boolean mask .* not uint8"),
        (np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool), r"truth must be a boolean mask .* \[2, 4, 4\]"),
    ],
)
def test_masks_that_cannot_be_compared(truth, prediction, words):
    for measure in (region_similarity, contour_accuracy):
        with pytest.raises(EvaluationError, match=words):
            measure(truth, prediction)


def test_no_frames_and_no_tolerance_are_errors():
    with pytest.raises(EvaluationError, match="at least one frame"):
        statistics([])
    with pytest.raises(EvaluationError, match="must be positive"):
        contour_accuracy(EMPTY, EMPTY, tolerance=0)
