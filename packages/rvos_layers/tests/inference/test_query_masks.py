"""Which query is chosen, and how its masks get their full size."""

import numpy as np
import torch
from rvos_layers.inference.query_masks import choose_query, full_size_logits, full_size_probabilities


def test_one_query_for_the_whole_video():
    logits = torch.tensor([[[3.0], [1.0], [-9.0]], [[-9.0], [1.0], [9.0]]])  # the mean of probabilities decides
    chosen = choose_query(logits)
    assert chosen.query == 1
    assert chosen.scores.tolist() == torch.tensor([1.0, 1.0]).sigmoid().tolist()


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
