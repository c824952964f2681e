"""Objects of one job compete for pixels; objects of different jobs know nothing of one another.

All objects that are under way form one batch, job after job. `counts` says how many of them belong to each job.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CLAMP = 1e-7  # least distance of probabilities from 0 and 1


def compete(probabilities: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Logits float32 [n + 1, ...] for every job, background first: it is what no object of the job claims.

    Args:
        probabilities: [N, ...] in 0..1, of each object alone.
        counts: objects of each job, N together.
    """

    def logits(own: Tensor) -> Tensor:
        background = (1 - own).prod(dim=0, keepdim=True)
        return torch.cat([background, own]).clamp(CLAMP, 1 - CLAMP).logit()

    return [logits(own) for own in probabilities.float().split(list(counts))]


def rivals(masks: Tensor, counts: Sequence[int]) -> Tensor:
    """For every object, the masks [N, ...] of all other objects of its job together."""
    return torch.cat([(own.sum(dim=0, keepdim=True) - own).clamp(0, 1) for own in masks.split(list(counts))])


def won_pixels(logits: Tensor, counts: Sequence[int]) -> Tensor:
    """Whether an object is at least as likely as background and rivals, bool of the shape of `logits`, [N, ...]."""
    competing = compete(logits.sigmoid(), counts)
    return torch.cat([own[1:] >= own.max(dim=0, keepdim=True).values for own in competing])
