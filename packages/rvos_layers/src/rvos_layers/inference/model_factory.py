"""What the command lines of the models share behind `program_kit.segmenter_app`: device, weights, tokenizer."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from program_kit.segmenter_app import ModelRequest
from program_kit.weights import BundledWeights, choose_network
from torch import nn

from rvos_layers.checkpoint import Rule, load_weights, read_checkpoint, save_converted
from rvos_layers.encoders.config import TextConfig
from rvos_layers.encoders.tokenizer import Tokenizer, encode_bytes, pretrained_encoder
from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.predictor import VideoPredictor

AUTO, BYTES = "auto", "bytes"  # names of tokenizers, beside folders and hub ids


class ModelConfig(Protocol):
    """What every model's configuration has."""

    @property
    def text(self) -> TextConfig:
        """The text encoder."""
        ...


C = TypeVar("C", bound=ModelConfig)
P = TypeVar("P", bound=VideoPredictor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProgram(Generic[C]):
    """How to make one kind of model.

    Attributes:
        name: of the model; converted checkpoints carry it.
        configs: configurations by name.
        build: makes the network, with random weights.
        table: names of published weights.
        resize: size of its frames.
        bundled: the weights that its package ships.
    """

    name: str
    configs: Mapping[str, C]
    build: Callable[[C], nn.Module]
    table: Callable[[C], Sequence[Rule]]
    resize: ResizeRule
    bundled: BundledWeights | None = None

    def load(self, request: ModelRequest, kind: type[P]) -> P:
        """Make a predictor.

        Args:
            request: what was asked for.
            kind: its class.

        Raises:
            RVOSLayersError: no such device, or weights or tokenizer that cannot be had.
        """
        device = choose_device(request.device)
        config = self.configs[request.config]
        random = request.weights.checkpoint is None
        tokenizer = self.tokenizer(request.tokenizer, config.text, random)
        model = self.filled(request.config, request.weights.checkpoint, request.weights.seed)
        model: Any = model.eval().to(device)  # a Segmenter
        resize = self.resize_of(request.config, request.short_side)
        return kind(model, tokenizer, resize, device=device, soft_masks=request.soft_masks)

    def resize_of(self, config: str, short_side: int | None = None) -> ResizeRule:
        """Size of the frames that a configuration sees, unless `short_side` says another."""
        if short_side is None and self.bundled is not None and config == self.bundled.config:
            short_side = self.bundled.short_side
        return self.resize if short_side is None else replace(self.resize, short=short_side)

    def filled(self, config: str, checkpoint: Path | None, seed: int | None = None) -> nn.Module:
        """The network with the weights of a file, or random ones drawn from `seed`."""
        if checkpoint is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed or 0)
                return self.build(self.configs[config])
        model = self.build(self.configs[config])
        weights = read_checkpoint(checkpoint)
        load_weights(model, weights, self.table(self.configs[config]), name=self.name, config=config)
        return model

    def save(self, target: Path, network: nn.Module, config: str) -> None:
        """Write trained weights as safetensors."""
        save_converted(target, network, name=self.name, config=config, source_sha256="")

    def predictor(
        self, network: nn.Module, tokenizer: Tokenizer, resize: ResizeRule, device: torch.device
    ) -> VideoPredictor:
        """A network, on `device`, as it segments videos with frames of a size."""
        segmenter: Any = network
        return VideoPredictor(segmenter, tokenizer, resize, device=device)

    def convert(self, source: Path, target: Path, config: str) -> None:
        """Write a published checkpoint as safetensors with our names."""
        weights = read_checkpoint(source)
        model = self.build(self.configs[config])
        load_weights(model, weights, self.table(self.configs[config]), name=self.name, config=config)
        save_converted(target, model, name=self.name, config=config, source_sha256=weights.sha256)

    def tokenizer(self, source: str, text: TextConfig, random: bool) -> Tokenizer:
        """The tokenizer of `source`, as in `ModelPredictor.load`; `random` weights decide what `auto` means."""
        if source == AUTO:
            source = BYTES if random else text.tokenizer
        if source == BYTES:
            print(
                f"{self.name}: tokenizer: one token for each byte (not the one of published weights)", file=sys.stderr
            )
        encode = encode_bytes if source == BYTES else pretrained_encoder(source)
        return Tokenizer(encode, vocabulary=text.vocabulary, longest=text.longest)


class ModelPredictor(VideoPredictor):
    """Segments what sentences refer to; `predict` takes a video, `segment` any frames. Models derive from it.

    Attributes:
        program: how to make the model.
    """

    program: ClassVar[ModelProgram[Any]]

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        tokenizer: str = AUTO,
        device: str = "auto",
        soft_masks: int | None = None,
        short_side: int | None = None,
    ) -> Self:
        """Load a model.

        Args:
            checkpoint: published or converted weights. Without, and without a seed, the weights that the package ships.
            seed: draws random weights instead, for trying things out.
            config: name of a configuration in `program.configs`; the first by default, that of shipped weights for
                these.
            tokenizer: folder or Hugging Face hub id of RoBERTa's tokenizer; `demo` for that of demo configurations;
                `bytes` for one token a byte; `auto` for the configuration's, and for `bytes` with random weights.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.
            short_side: of the frames that the network sees, in pixels; None for the model's own.

        Raises:
            WeightsError: no such configuration or file, or both a checkpoint and a seed.
            RVOSLayersError: a device, weights or tokenizer that cannot be had.
        """
        program = cls.program
        file = None if checkpoint is None else Path(checkpoint)
        bundled = () if program.bundled is None else (program.bundled,)
        network, weights = choose_network(list(program.configs), bundled, config, file, seed)
        request = ModelRequest(
            config=network,
            weights=weights,
            tokenizer=tokenizer,
            device=device,
            soft_masks=soft_masks,
            short_side=short_side,
        )
        return cls.program.load(request, cls)


def choose_device(wanted: str) -> torch.device:
    """The device of `auto`, `cpu`, `cuda` or `cuda:<i>`.

    Raises:
        RVOSLayersError: it is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise RVOSLayersError(f"--device {wanted}: found {count} CUDA devices; take another, or --device cpu")
    return device
