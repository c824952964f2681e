"""What the trainer asks of what it trains, whatever kind of network that is.

SOC, ReferFormer and MUTR learn from sentences (`learner`, `training_data`); a mask propagator brings its own modules.
"""

from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from rvos_training.data.batches import Request


class TrainingBatch(Protocol):
    """Some clips."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clips, for messages."""
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
        """The scalar that is minimised."""
        ...


B = TypeVar("B", bound=TrainingBatch, covariant=True)


class BatchSource(Protocol[B]):
    """All there is to train on."""

    def requests(self, epoch: int, batch: int, process: int = 0, processes: int = 1) -> list[Request]:
        """One epoch's batches of one process; every process gets equally many."""
        ...

    def __getitem__(self, request: Request, /) -> B | Exception:
        """A batch, or what is wrong with a file, to be raised outside of the process that reads."""
        ...


class TrainingModule(nn.Module):
    """Network and losses as one module: `forward` takes a batch and gives its losses.

    Attributes:
        network: what is trained and saved.
    """

    network: nn.Module
