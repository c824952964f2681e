"""What the trainer needs from a network, its batches and its losses, whatever kind of network it is.

Referring models use `model_with_loss` and `training_data`; mask propagators have modules of their own.
"""

from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from rvos_training.data.batches import BatchIndices


class TrainingBatch(Protocol):
    """Some clips."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips, for messages."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        ...


class TrainingLosses(Protocol):
    """Losses of one batch."""

    @property
    def terms(self) -> dict[str, Tensor]:
        """Unweighted scalars by name, for the log."""
        ...

    @property
    def total(self) -> Tensor:
        """The scalar that training minimises."""
        ...


B = TypeVar("B", bound=TrainingBatch, covariant=True)


class BatchSource(Protocol[B]):
    """Everything to train on."""

    def batches(self, epoch: int, batch_size: int, process: int = 0, processes: int = 1) -> list[BatchIndices]:
        """The batches of one process in one epoch; every process gets the same number."""
        ...

    def __getitem__(self, batch: BatchIndices, /) -> B | Exception:
        """A batch, or the error of an unreadable file, which the trainer raises in its own process."""
        ...


class ModelWithLoss(nn.Module):
    """A network and its losses as one module: `forward` takes a batch and returns `TrainingLosses`.

    As one module, libraries that spread a network over devices wrap the forward pass and the losses together.

    Attributes:
        network: what is trained and saved.
        auxiliary: what is trained with it and not saved among its weights: parts that only the losses need.
    """

    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary: nn.Module | None = None
