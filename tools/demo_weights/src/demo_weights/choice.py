"""A loss for choosing the object among all that a clip shows, beside a program's own losses.

Losses of masks teach a network to outline objects long before they teach it which one is meant: a mask of two objects
costs less than one of the wrong object. Here the pixels of every object score it as the one that is meant, and the
cross entropy of these scores reaches the words without a detour over outlines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rvos_training.data.batches import Batch
from rvos_training.loop.contract import ModelWithLoss, TrainingLosses
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

LEVELS = 4  # of the memory of the deformable encoder


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a network keeps pixels that have taken up words: the output of its deformable encoder.

    Attributes:
        module: of the network, by name.
        width: of the features of a network.
        maps: [N, C, h, w] for every level, from the arguments and the output of a call of the module.
    """

    module: str
    width: Callable[[Any], int]
    maps: Callable[[Sequence[Any], Any], Sequence[Tensor]]


GROUNDED = Memory("queries.transformer", lambda network: network.video.hidden_size, lambda _, decoded: decoded.memory)
FRAME_BY_FRAME = Memory(
    "encoder", lambda network: network.config.hidden_size, lambda arguments, memory: arguments[2].split(memory)
)
MEMORIES = {"uninext": FRAME_BY_FRAME}  # by package; SOC, ReferFormer and MUTR share theirs


class ChoiceModelWithLoss(ModelWithLoss):
    """A referring model, its losses, and a choice among the objects of a clip.

    Args:
        model: the network with its own losses.
        memory: where the choice is read off.
        weight: of the choice's loss.
    """

    def __init__(self, model: ModelWithLoss, memory: Memory, weight: float) -> None:
        super().__init__()
        self.model = model
        self.network = model.network
        self.memory = memory
        self.weight = weight
        self.auxiliary = nn.ModuleList(nn.Linear(memory.width(model.network), 1) for _ in range(LEVELS))

    def forward(self, batch: Batch) -> TrainingLosses:
        """Losses of a batch whose targets have labels; `chosen` is the fraction of right choices."""
        parts: list[Sequence[Tensor]] = []
        module = self.network.get_submodule(self.memory.module)
        hook = module.register_forward_hook(lambda _, arguments, out: parts.append(self.memory.maps(arguments, out)))
        try:
            losses: Any = self.model(batch)
        finally:
            hook.remove()
        labels, masks = batch.targets.labels, batch.targets.masks
        assert labels is not None
        choice, chosen = choice_loss(self._scores(parts, labels), areas(labels * masks).sum(1))
        terms = losses.terms | {"choice": choice, "chosen": chosen}
        return replace(losses, terms=terms, total=losses.total + self.weight * choice)

    def _scores(self, parts: Sequence[Sequence[Tensor]], labels: Tensor) -> Tensor:
        """The score [B, K] of every object of a clip; the pixels of all levels and frames vote."""
        assert isinstance(self.auxiliary, nn.ModuleList)
        scores = []
        for readout, level in zip(self.auxiliary, zip(*parts, strict=True), strict=True):
            scores.append(readout(pool_objects(torch.cat(level).float(), labels.flatten(0, 1)))[..., 0])
        return over_frames(torch.stack(scores).sum(0).unflatten(0, labels.shape[:2]), areas(labels))


def objects_of(labels: Tensor) -> Tensor:
    """Masks bool[..., K, H, W] of the objects 1 to K of labels [..., H, W]; K is at least 1."""
    numbers = torch.arange(1, max(int(labels.max()), 1) + 1, device=labels.device)
    return labels[..., None, :, :] == numbers[:, None, None]


def areas(labels: Tensor) -> Tensor:
    """Pixels [..., K] of every object of labels [..., H, W]."""
    return objects_of(labels).sum((-2, -1))


def pool_objects(maps: Tensor, labels: Tensor) -> Tensor:
    """Mean features [N, K, C] of maps [N, C, h, w] over every object of labels [N, H, W]; 0 where there is none."""
    shares = interpolate(objects_of(labels).to(maps), size=maps.shape[-2:], mode="area")
    sums = torch.einsum("nkhw,nchw->nkc", shares, maps)
    return sums / shares.sum((-2, -1)).clamp(min=1e-6)[..., None]


def over_frames(scores: Tensor, areas: Tensor) -> Tensor:
    """Mean scores [B, K] over the frames that show an object, of [B, T, K]; minus infinity where none does."""
    shown = areas > 0
    mean = (scores * shown).sum(1) / shown.sum(1).clamp(min=1)
    return mean.masked_fill(~shown.any(1), -torch.inf)


def choice_loss(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy and fraction of right choices, over the clips that show what is meant.

    Args:
        scores: [B, K], minus infinity for objects that a clip does not have.
        truth: [B, K'], K' up to K; the largest number is of the object that is meant; zeros where none is.
    """
    meant = truth.any(1)
    if not meant.any():
        return scores.new_zeros(()), scores.new_zeros(())
    scores, target = scores[meant], truth[meant].argmax(1)
    return cross_entropy(scores, target), (scores.argmax(1) == target).float().mean()
