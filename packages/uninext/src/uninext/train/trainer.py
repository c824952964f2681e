"""How UNINEXT is trained with `rvos_training`, for the small weights that the package ships.

There is no command for it: the published training covers many tasks and data sets, of which this is one.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_layers.encoders.tokenizer import Tokenizer
from rvos_layers.inference.config import ResizeRule
from rvos_training.command.trainer_factory import TrainerFactory
from torch import nn

from uninext.checkpoint import CHECKPOINTS
from uninext.config import SIZE_DIVISIBILITY, TextConfig, UninextConfig
from uninext.model import Uninext, build_uninext
from uninext.predict import UNINEXTPredictor
from uninext.preprocess import load_tokenizer
from uninext.train.initial_weights import init_weights
from uninext.train.objective import FROM_NOTHING, FrameModelWithLoss


class TrainedUninext:
    """How networks are built, saved and used in training.

    Attributes:
        configs: configurations by name.
    """

    configs: Mapping[str, UninextConfig] = CHECKPOINTS.configs

    def build_with_weights(self, config: str, checkpoint: Path | None, seed: int | None = None) -> Uninext:
        """The network with the weights of a file, or with random ones from `seed`.

        Raises:
            CheckpointError: the file cannot be read or does not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            network = build_uninext(self.configs[config])
        init_weights(network)
        if checkpoint is not None:
            CHECKPOINTS.fill(network, read_checkpoint(checkpoint), config)
        return network

    def tokenizer(self, name: str, text: TextConfig) -> Tokenizer:
        """The tokenizer of a name; see `load_tokenizer`."""
        return load_tokenizer(name, text)

    def save(self, target: Path, network: nn.Module, config: str, training: Mapping[str, Any]) -> None:
        """Write weights that `uninext-infer --checkpoint` takes."""
        CHECKPOINTS.save(target, network, config, training)

    def predictor(
        self, network: nn.Module, tokenizer: Tokenizer, resize: ResizeRule, device: torch.device
    ) -> UNINEXTPredictor:
        """A predictor that segments videos with the network."""
        assert isinstance(network, Uninext)
        return UNINEXTPredictor(network, tokenizer, image=replace(network.config.image, short_side=resize.short))


FACTORY = TrainerFactory(
    model=TrainedUninext(),
    train_configs={},  # whoever trains brings one
    with_losses=lambda network, faithful: FrameModelWithLoss(network, FROM_NOTHING),
    multiple=SIZE_DIVISIBILITY,
)
