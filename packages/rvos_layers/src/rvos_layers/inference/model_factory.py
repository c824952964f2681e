"""Makes a model from its configuration, weights and tokenizer: for the command line, for Python and for training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from program_kit.messages import log
from program_kit.options import Precision
from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.device import choose_device
from program_kit.weights import BundledWeights, TakesWeights, choose_network
from torch import nn

from rvos_layers.encoders.config import TextConfig
from rvos_layers.encoders.tokenizer import AUTO, BYTES, Tokenizer, named_encoder, tokenizer_name
from rvos_layers.inference.config import ResizeRule, Windows
from rvos_layers.inference.predictor import VideoPredictor


class ModelConfig(Protocol):
    """What the configuration of every model has."""

    @property
    def text(self) -> TextConfig:
        """The text encoder."""
        ...


C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFactory(Generic[C]):
    """Makes one kind of model.

    Attributes:
        checkpoints: the name of the model, its configurations, networks and weights.
        resize: size of the frames for the network.
        bundled: the weights that the package bundles.
    """

    checkpoints: ModelCheckpoints[C, nn.Module]
    resize: ResizeRule
    bundled: BundledWeights

    @property
    def configs(self) -> Mapping[str, C]:
        """The configurations by name, the default first."""
        return self.checkpoints.configs

    @property
    def takes(self) -> TakesWeights:
        """Which weights it takes."""
        name = f"{self.checkpoints.model}-infer"
        return TakesWeights(name=name, configs=tuple(self.configs), bundled=(self.bundled,))

    def resize_rule(self, config: str, short_side: int | None = None) -> ResizeRule:
        """Frame size for a configuration; `short_side`, in pixels, replaces its short side."""
        if short_side is None and config == self.bundled.config:
            short_side = self.bundled.short_side
        return self.resize if short_side is None else replace(self.resize, short=short_side)

    def build_with_weights(self, config: str, checkpoint: Path | None, seed: int | None = None) -> nn.Module:
        """The network with the weights of a file, or with random ones of a seed."""
        if checkpoint is None:
            return self.checkpoints.random(config, seed or 0)
        return self.checkpoints.load(checkpoint, config)

    def save(self, target: Path, network: nn.Module, config: str, training: Mapping[str, Any]) -> None:
        """Write trained weights as safetensors; `training` as of `ModelCheckpoints.save`."""
        self.checkpoints.save(target, network, config, training)

    def predictor(
        self, network: nn.Module, tokenizer: Tokenizer, resize: ResizeRule, device: torch.device
    ) -> VideoPredictor:
        """A predictor around a network that is on `device`."""
        segmenter: Any = network
        return VideoPredictor(segmenter, tokenizer, resize, device=device)

    def tokenizer(self, name: str, text: TextConfig) -> Tokenizer:
        """The tokenizer of a name, as `tokenizer_name` gives it."""
        if name == BYTES:
            log.info(f"{self.checkpoints.model}: tokenizer: one token for each byte (not the one of published weights)")
        return Tokenizer(named_encoder(name), vocab_size=text.vocab_size, max_tokens=text.max_tokens)


class ModelPredictor(VideoPredictor):
    """A `VideoPredictor` that loads its model; the models derive from it.

    Attributes:
        factory: makes the model.
    """

    factory: ClassVar[ModelFactory[Any]]

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "strict",
        tokenizer: str = AUTO,
        soft_masks: int | None = None,
        short_side: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
    ) -> Self:
        """Load a model.

        Args:
            checkpoint: published or converted weights. Without it and without a seed, the bundled weights.
            seed: of random weights, for trials.
            config: name of a configuration in `factory.configs`; by default the one that the checkpoint names, else
                the first.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: as `program_kit.torch.precision` has it; masks and scores are made in float32.
            tokenizer: folder or Hugging Face hub id of RoBERTa's tokenizer; `demo` for that of demo configurations;
                `bytes` for one token a byte; `auto` for the one that the weights were trained with: as their file says,
                else the configuration's; `bytes` with random weights.
            soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
            short_side: of the frames for the network, in pixels; None for what the weights' file says, else the
                model's own.
            window: frames of the windows that long videos are cut into; None for none, as published.
            overlap: frames that neighbouring windows share; None for a quarter of a window.

        Raises:
            RVOSLayersError: an overlap that does not fit.
            WeightsError: no such configuration or file, or both a checkpoint and a seed.
            CheckpointError: the file cannot be read safely, or is not of this model and configuration.
            DeviceError: this machine does not have the device.
            TokenizerError: the tokenizer cannot be read.
            ProgramKitError: no such precision.
        """
        factory = cls.factory
        windows = Windows.of(window, overlap)
        file = None if checkpoint is None else Path(checkpoint)
        name, weights = choose_network(factory.takes, config, file, None if seed is None else f"random:{seed}")
        target = choose_device(device)
        # before the tokenizer, which may be downloaded: a wrong file shows at once
        model: Any = factory.checkpoints.network(name, weights)
        text = factory.configs[name].text
        origin, untrained = weights.origin, weights.seed is not None
        named = tokenizer_name(tokenizer, usual=text.tokenizer, untrained=untrained, origin=origin)
        text_tokenizer = factory.tokenizer(named, text)
        if short_side is None and origin is not None:
            short_side = origin.short_side
        return cls(
            model.eval().requires_grad_(False).to(target),
            text_tokenizer,
            factory.resize_rule(name, short_side),
            device=target,
            soft_masks=soft_masks,
            precision=precision,
            windows=windows,
        )
