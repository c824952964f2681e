"""Which query is chosen, and how its masks get their full size."""

import numpy as np
import torch
from rvos_layers.inference import query_masks
from rvos_layers.inference.query_masks import (
    best_queries,
    choose_query,
    full_size_logits,
    full_size_masks,
    full_size_probabilities,
)


def test_one_query_for_the_whole_video():
    logits = torch.tensor([[[3.0], [1.0], [-9.0]], [[-9.0], [1.0], [9.0]]])  # the mean of probabilities decides
    chosen = choose_query(logits)
    assert chosen.query == 1
    assert chosen.scores.tolist() == torch.tensor([1.0, 1.0]).sigmoid().tolist()
    together = choose_query(torch.stack([logits.flip(1), logits]))  # of several expressions
    assert (together.query.tolist(), together.key_frame.tolist()) == ([1, 1], [0, 0])
    assert torch.equal(together.scores[1], chosen.scores)


def test_the_best_queries_come_in_order():
    logits = torch.randn(2, 4, 6, 1, generator=torch.Generator().manual_seed(0))
    best = best_queries(logits, 3)
    assert (best.query.shape, best.scores.shape) == ((2, 3), (2, 3, 4))
    means = best.scores.mean(-1)
    assert torch.equal(means, means.sort(-1, descending=True).values)
    chosen = choose_query(logits)
    assert torch.equal(best.query[:, 0], chosen.query)
    assert torch.equal(best.scores[:, 0], chosen.scores)
    assert best_queries(logits, 9).query.sort(-1).values.tolist() == [list(range(6))] * 2


def test_ties_go_to_the_first():
    chosen = choose_query(torch.tensor([[[0.0], [0.0]], [[2.0], [2.0]], [[2.0], [2.0]]]))
    assert (chosen.query, chosen.key_frame) == (0, 1)


def test_the_best_class_counts():
    assert choose_query(torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])).query == 0


def test_the_grid_is_stretched_over_the_frame():
    grid = torch.tensor([[[-2.0, 2.0]]])
    assert full_size_logits(grid, (1, 4)).tolist() == [[[-2.0, -1.0, 1.0, 2.0]]]
    [frame] = full_size_probabilities(grid, (2, 4))
    assert frame.dtype == np.float32
    assert (frame > 0.5).tolist() == [[False, False, True, True]] * 2


def test_masks_are_the_probabilities_above_one_half(monkeypatch):
    logits = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    expected = [frame > 0.5 for frame in full_size_probabilities(logits, (15, 21))]
    for frames in (1, 2, 9):
        monkeypatch.setattr(query_masks, "rows_at_once", lambda device, row_bytes, frames=frames: frames)
        np.testing.assert_array_equal(np.stack(list(full_size_masks(logits, (15, 21)))), expected)
