"""Batches of clips with their expressions, and in which order they come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rvos_training.data.transforms import Sample
from rvos_training.losses.targets import Targets

Tokenize = Callable[[Sequence[str]], Any]  # sentences to what the network takes as tokens, movable by `to(device)`


@dataclass(frozen=True, slots=True)
class Request:
    """Which samples make a batch: places in what there is to train on, in one epoch."""

    epoch: int
    places: tuple[int, ...]


def requests_of(samples: int, seed: int, epoch: int, batch: int, process: int, processes: int) -> list[Request]:
    """One epoch's batches of one process. All processes get equally many samples; some come twice for that."""
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    order = np.resize(order, -(-len(order) // processes) * processes)[process::processes]
    return [Request(epoch, tuple(order[i : i + batch].tolist())) for i in range(0, len(order), batch)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B clips of T frames, each with its sentence and the object that it means.

    Attributes:
        frames: float32[B, T, 3, H, W], normalised, padded at the bottom and the right.
        padding_mask: bool[B, T, H, W], True where padded; None when nothing is.
        tokens: of B sentences, as the network takes them.
        targets: of B clips.
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
    """One batch of samples of any sizes, padded to the largest."""
    sizes = torch.tensor([sample.masks.shape[1:] for sample in samples])
    height, width = (-(-int(side) // multiple) * multiple for side in sizes.amax(0))

    def grown(x: Tensor, value: float = 0) -> Tensor:
        return pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    padding = torch.stack([grown(torch.zeros_like(sample.masks), True) for sample in samples])
    return Batch(
        frames=torch.stack([grown(sample.frames) for sample in samples]),
        padding_mask=padding if padding.any() else None,
        tokens=tokenizer([sample.text for sample in samples]),
        targets=Targets(
            boxes=torch.stack([sample.boxes for sample in samples]),
            masks=torch.stack([grown(sample.masks) for sample in samples]),
            visible=torch.stack([sample.visible for sample in samples]),
        ),
        names=tuple(sample.name for sample in samples),
    )
