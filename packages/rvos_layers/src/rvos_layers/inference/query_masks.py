"""From a network's outputs to masks: one query for the whole video, its scores, full-size masks and probabilities."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from program_kit.torch.memory import rows_at_once
from program_kit.torch.transfer import Download, arrived
from torch import Tensor
from torch.nn.functional import interpolate

from rvos_layers.chunks import chunk_slices

THRESHOLD = 0.5
STEPS = 8  # results of full size that exist on the way to the masks of some frames


@dataclass(frozen=True, slots=True)
class ChosenQuery:
    """The query that is taken as the referred object, of each expression.

    Attributes:
        query: int64[...], its index, the same in all frames.
        scores: float32[..., T], probability that it is the referred object, frame by frame.
    """

    query: Tensor
    scores: Tensor

    @property
    def key_frame(self) -> Tensor:
        """Frame of the highest score, the first of equals, int64[...]."""
        return self.scores.argmax(-1)


def choose_query(logits: Tensor) -> ChosenQuery:
    """Choose the query whose probability is highest in the mean over frames, the first of equals.

    Args:
        logits: float[..., T, Q, K] of K classes; a query counts with its best class.
    """
    best = best_queries(logits, 1)
    return ChosenQuery(best.query[..., 0], best.scores[..., 0, :])


def best_queries(logits: Tensor, count: int) -> ChosenQuery:
    """The `count` queries that `choose_query` would choose first, best first, or all if there are fewer.

    Returns:
        query int64[..., n] and scores float32[..., n, T].
    """
    probabilities = logits.sigmoid()
    query = probabilities.mean(-3).amax(-1).argsort(dim=-1, descending=True, stable=True)[..., :count]
    scores = probabilities.amax(-1).take_along_dim(query[..., None, :], -1).movedim(-1, -2)
    return ChosenQuery(query, scores)


def full_size_logits(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """One bilinear resize [T, h, w] to [T, *size].

    The whole grid is stretched over the frame, including the up to three pixels of padding from the patch embedding.
    """
    return interpolate(mask_logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def full_size_masks(mask_logits: Tensor, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield bool[*size] for each frame of [T, h, w] logits. Some frames at a time have full size; bits leave a GPU."""
    at_once = rows_at_once(mask_logits.device, STEPS * math.prod(size) * mask_logits.element_size())
    chunks = chunk_slices(len(mask_logits), at_once)
    thresholded = ((full_size_logits(mask_logits[chunk], size).sigmoid() > THRESHOLD, chunk) for chunk in chunks)
    for _, (masks,) in arrived((chunk, Download([masks])) for masks, chunk in thresholded):
        yield from masks


def full_size_probabilities(mask_logits: Tensor, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield float32[*size] for each frame of [T, h, w] logits; one frame at a time has full size."""
    for frame in mask_logits:
        yield full_size_logits(frame[None], size)[0].sigmoid().cpu().numpy()
