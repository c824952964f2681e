"""A referring model with its losses."""

from collections.abc import Callable
from typing import Any, Protocol

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import VideoFeatures
from torch import Tensor, nn

from rvos_training.data.batches import Batch
from rvos_training.loop.contract import ModelWithLoss
from rvos_training.losses.criterion import Criterion, Losses
from rvos_training.losses.targets import Predictions


class Network(Protocol):
    """What SOC, ReferFormer and MUTR offer."""

    def encode_video(self, frames: Tensor, padding_mask: Tensor | None = None) -> VideoFeatures:
        """Everything that does not depend on an expression."""
        ...

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that does not depend on a video."""
        ...


LayerPredictions = Callable[[Any, VideoFeatures, TextFeatures], list[Predictions]]


class ReferringModelWithLoss(ModelWithLoss):
    """A network and its criterion.

    Args:
        network: a `Network` that is a module.
        layer_predictions: predictions of all its decoder layers for a batch, the last layer last.
        criterion: compares them with the ground truth.
    """

    def __init__(self, network: nn.Module, layer_predictions: LayerPredictions, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.layer_predictions = layer_predictions
        self.criterion = criterion

    def forward(self, batch: Batch) -> Losses:
        """Losses of a batch, computed in float32 whatever the network's precision."""
        network: Any = self.network
        video = network.encode_video(batch.frames, batch.padding_mask)
        layers = self.layer_predictions(network, video, network.encode_text(batch.tokens))
        return self.criterion([layer.float() for layer in layers], batch.targets)


def with_losses(
    layer_predictions: LayerPredictions, criterion: Callable[[bool], Criterion]
) -> Callable[[nn.Module, bool], ReferringModelWithLoss]:
    """Makes a `ReferringModelWithLoss` from a network and whether training is faithful.

    Args:
        layer_predictions: as in `ReferringModelWithLoss`.
        criterion: gets whether training is faithful.
    """
    return lambda network, faithful: ReferringModelWithLoss(network, layer_predictions, criterion(faithful))
