"""The path through boxes, against trying all paths."""

import itertools

import numpy as np
import pytest
from grounded_sam2.box_path import best_path, overlaps


def value(boxes, scores, path, smoothness):
    total = sum(scores[t, k] for t, k in enumerate(path))
    for t in range(1, len(path)):
        total -= smoothness * (1 - overlaps(boxes[t - 1], boxes[t])[path[t - 1], path[t]])
    return total


@pytest.mark.parametrize("seed", range(20))
def test_no_path_is_better(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (5, 3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 40, (5, 3, 2))], -1).astype(np.float32)
    scores = rng.uniform(0, 1, (5, 3)).astype(np.float32)
    for smoothness in (0, 0.5, 3):
        best = max(value(boxes, scores, path, smoothness) for path in itertools.product(range(3), repeat=5))
        assert value(boxes, scores, best_path(boxes, scores, smoothness), smoothness) == pytest.approx(best, abs=1e-6)


def test_one_doubtful_frame_does_not_make_it_jump():
    left, right = (0, 0, 10, 10), (50, 0, 60, 10)
    boxes = np.array([[left, right]] * 5, np.float32)
    scores = np.array([[0.6, 0.5], [0.6, 0.5], [0.5, 0.6], [0.6, 0.5], [0.6, 0.5]], np.float32)
    assert best_path(boxes, scores).tolist() == [0, 0, 0, 0, 0]
    assert best_path(boxes, scores, smoothness=0).tolist() == [0, 0, 1, 0, 0]


def test_one_frame_and_one_box():
    boxes = np.array([[(0, 0, 1, 1), (2, 2, 3, 3)]], np.float32)
    assert best_path(boxes, np.array([[0.1, 0.2]], np.float32)).tolist() == [1]
    assert best_path(boxes[:, :1].repeat(3, 0), np.zeros((3, 1), np.float32)).tolist() == [0, 0, 0]


def test_overlaps():
    boxes = np.array([(0, 0, 10, 10), (5, 0, 15, 10), (3, 3, 3, 3)], np.float32)
    np.testing.assert_allclose(overlaps(boxes, boxes), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
