"""One network with what it is trained for: a batch in, its losses out.

A module, so that libraries that spread a network over devices wrap forward pass and losses together.
"""

from collections.abc import Callable
from typing import Any, Protocol

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import VideoFeatures
from torch import Tensor, nn

from rvos_training.data.batches import Batch
from rvos_training.loop.contract import TrainingModule
from rvos_training.losses.criterion import Criterion, Losses
from rvos_training.losses.targets import Predictions


class Network(Protocol):
    """What SOC, ReferFormer and MUTR offer."""

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that needs no sentence."""
        ...

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        ...


Answers = Callable[[Any, VideoFeatures, TextFeatures], list[Predictions]]


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
