"""Batches of clips with their expressions, and their order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rvos_training.data.transforms import Sample
from rvos_training.losses.targets import Targets

Tokenize = Callable[[Sequence[str]], Any]  # expressions to tokens; what comes has `to(device)`


@dataclass(frozen=True, slots=True)
class BatchIndices:
    """The samples of a batch.

    Attributes:
        epoch: from 0.
        indices: into all samples of the training data.
    """

    epoch: int
    indices: tuple[int, ...]


def epoch_batches(
    samples: int, seed: int, epoch: int, batch_size: int, process: int, processes: int
) -> list[BatchIndices]:
    """The batches of one process in one epoch, in an order that (seed, epoch) fixes.

    All processes get the same number of samples; for that some samples come twice.
    """
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    order = np.resize(order, -(-len(order) // processes) * processes)[process::processes]
    return [BatchIndices(epoch, tuple(order[i : i + batch_size].tolist())) for i in range(0, len(order), batch_size)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B clips of T frames, each with an expression and the object that it refers to.

    Attributes:
        frames: float32[B, T, 3, H, W], normalised, padded at the bottom and the right.
        padding_mask: bool[B, T, H, W], True where padded; None when nothing is.
        tokens: of the B expressions, as the network takes them.
        targets: of the B clips.
        names: of the clips, for messages.
    """

    frames: Tensor
    padding_mask: Tensor | None
    tokens: Any
    targets: Targets
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(
            self,
            frames=self.frames.to(device),
            padding_mask=None if self.padding_mask is None else self.padding_mask.to(device),
            tokens=self.tokens.to(device),
            targets=self.targets.to(device),
        )


def collate(samples: Sequence[Sample], tokenizer: Tokenize, multiple: int = 1) -> Batch:
    """Make a batch of samples, padded to the largest.

    Args:
        samples: B samples with frames of any sizes.
        tokenizer: of the expressions.
        multiple: height and width of the padded frames are multiples of this many pixels.
    """
    sizes = torch.tensor([sample.masks.shape[1:] for sample in samples])
    height, width = (-(-int(side) // multiple) * multiple for side in sizes.amax(0))

    def padded(x: Tensor, value: float = 0) -> Tensor:
        return pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    padding = torch.stack([padded(torch.zeros_like(sample.masks), True) for sample in samples])
    labels = [padded(sample.labels) for sample in samples if sample.labels is not None]
    return Batch(
        frames=torch.stack([padded(sample.frames) for sample in samples]),
        padding_mask=padding if padding.any() else None,
        tokens=tokenizer([sample.text for sample in samples]),
        targets=Targets(
            boxes=torch.stack([sample.boxes for sample in samples]),
            masks=torch.stack([padded(sample.masks) for sample in samples]),
            visible=torch.stack([sample.visible for sample in samples]),
            labels=torch.stack(labels) if len(labels) == len(samples) else None,
        ),
        names=tuple(sample.name for sample in samples),
    )
