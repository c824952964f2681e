"""Predictions and targets with random content."""

import torch
from rvos_training.losses.targets import Predictions, Targets
from torch import Tensor

CLIPS, FRAMES, QUERIES, SIDE = 2, 3, 4, 6


def random_targets(visible: Tensor | None = None, seed: int = 0) -> Targets:
    random = torch.Generator().manual_seed(seed)
    if visible is None:
        visible = torch.ones(CLIPS, FRAMES, dtype=torch.bool)
    masks = torch.rand(*visible.shape, 4 * SIDE, 4 * SIDE, generator=random) < 0.3
    centres, sizes = torch.rand(2, *visible.shape, 2, generator=random).mul(0.5).add(0.2)
    boxes = torch.cat((centres, sizes), dim=-1)
    return Targets(boxes=boxes * visible[..., None], masks=masks & visible[..., None, None], visible=visible)


class Leaves:
    """Tensors that ask for gradients, and the predictions made of them."""

    def __init__(self, seed: int = 1, clips: int = CLIPS, frames: int = FRAMES) -> None:
        random = torch.Generator().manual_seed(seed)
        shape = (clips, frames, QUERIES)
        self.logits = torch.randn(*shape, 1, generator=random).requires_grad_()
        self.boxes = torch.rand(*shape, 4, generator=random).mul(0.5).add(0.2).requires_grad_()
        self.masks = torch.randn(*shape, SIDE, SIDE, generator=random).requires_grad_()
        self.similarity = torch.randn(clips, QUERIES, generator=random).requires_grad_()

    @property
    def predictions(self) -> Predictions:
        each = torch.arange(len(self.masks))[:, None]
        return Predictions(
            logits=self.logits,
            boxes=self.boxes,
            predict_masks=lambda queries: self.masks.transpose(1, 2)[each, queries].transpose(1, 2),
            similarity=self.similarity,
        )
