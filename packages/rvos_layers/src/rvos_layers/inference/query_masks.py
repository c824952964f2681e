"""From a network's outputs to masks: one query for the whole video, its scores, full-size probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class ChosenQuery:
    """The query that is taken as the referred object.

    Attributes:
        query: its index, the same in all frames.
        scores: float32[T], probability that it is the referred object, frame by frame.
    """

    query: int
    scores: Tensor

    @property
    def key_frame(self) -> int:
        """Frame of the highest score, the first of equals."""
        return int(self.scores.argmax())


def choose_query(logits: Tensor) -> ChosenQuery:
    """Choose the query whose probability is highest in the mean over frames.

    Args:
        logits: float[T, Q, K] of K classes; a query counts with its best class.
    """
    probabilities = logits.sigmoid()
    query = int(probabilities.mean(0).amax(-1).argmax())
    return ChosenQuery(query, probabilities[:, query].amax(-1))


def full_size_logits(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """One bilinear resize [T, h, w] to [T, *size].

    The whole grid is stretched over the frame, including the up to three pixels of padding from the patch embedding.
    """
    return interpolate(mask_logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def full_size_probabilities(mask_logits: Tensor, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield float32[*size] for each frame of [T, h, w] logits; one frame at a time has full size."""
    for frame in mask_logits:
        yield full_size_logits(frame[None], size)[0].sigmoid().cpu().numpy()
