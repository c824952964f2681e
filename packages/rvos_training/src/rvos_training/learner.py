"""One network with what it is trained for: a batch in, its losses out.

A module, so that libraries that spread a network over devices wrap forward pass and losses together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from rvos_layers.text_encoder import TextFeatures
from rvos_layers.tokenizer import Tokens
from rvos_layers.video_features import VideoFeatures
from torch import Tensor, nn

from rvos_training.contract import TrainingModule
from rvos_training.losses import Criterion, Losses
from rvos_training.targets import Predictions, Targets


class Network(Protocol):
    """What SOC, ReferFormer and MUTR offer."""

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no sentence."""
        ...

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        ...


Answers = Callable[[Any, VideoFeatures, TextFeatures], list[Predictions]]


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


class Learner(TrainingModule):
    """Network and criterion.

    Args:
        network: a `Network` that is a module.
        answers: what all of its decoder layers say of a batch, the last one last.
        criterion: compares that with the truth.
    """

    def __init__(self, network: nn.Module, answers: Answers, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.answers = answers
        self.criterion = criterion

    def forward(self, batch: Batch) -> Losses:
        """Losses of a batch; they are computed in float32 whatever precision the network runs in."""
        network: Any = self.network
        video = network.encode_video(batch.frames, batch.padding_mask)
        layers = self.answers(network, video, network.encode_text(batch.tokens))
        return self.criterion([layer.float() for layer in layers], batch.targets)


def learner_of(answers: Answers, criterion: Callable[[bool], Criterion]) -> Callable[[nn.Module, bool], Learner]:
    """How a `Learner` is made of a network, faithful or not.

    Args:
        answers: as of `Learner`.
        criterion: gets `Recipe.faithful`.
    """
    return lambda network, faithful: Learner(network, answers, criterion(faithful))
