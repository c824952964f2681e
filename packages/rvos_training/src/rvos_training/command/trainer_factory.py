"""From a request to a trainer, the same way for every referring model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from program_kit.messages import log
from program_kit.origin import Origin
from rvos_layers.encoders.tokenizer import tokenizer_name
from rvos_layers.inference.config import ResizeRule
from torch import nn

from rvos_training.data.batches import Tokenize
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_check import (
    check_expressions,
    check_images,
    check_training_videos,
    check_validation_videos,
)
from rvos_training.data.data_parts import AnnotatedVideos, DataParts, open_parts
from rvos_training.data.image_clips import ImageClips
from rvos_training.data.object_presence import Presence
from rvos_training.data.read_once import DATA_FILE, ReadOnce
from rvos_training.data.referring_clips import ReferringClips
from rvos_training.data.training_data import TrainingData
from rvos_training.data.transforms import FlipAndResize, Transform
from rvos_training.loop.contract import ModelWithLoss
from rvos_training.loop.devices import open_devices
from rvos_training.loop.initial_weights import load_backbone, load_common_weights, load_text_encoder
from rvos_training.loop.train_config import ReferringTrainConfig
from rvos_training.loop.trainer import Trainer
from rvos_training.loop.validation import Predictor, Validation

Sources = Callable[[DataParts, Presence, ReferringTrainConfig], list[ClipSource]]
RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What a user asks of a training command.

    Attributes:
        data: folder of the data set; see `data_parts`.
        out: folder for checkpoints, logs and weights; a training that is there resumes.
        train_config: name of the training's configuration.
        config: name of the network's configuration.
        checkpoint: weights of the whole network to start from; None to start from the three below.
        init_from: weights of a similar network, with the names of this workspace; those of equal name and shape
            replace random ones.
        backbone_weights: file of a Video-Swin trained on Kinetics, or `random`.
        text_encoder: folder or hub id of RoBERTa, or `random`.
        tokenizer: as in inference.
        device: `auto` or `cpu`.
        workers: number of processes that read samples ahead.
        save_every: steps between checkpoints.
        changes: values for fields of the training's configuration and of its optimisation, and for `short_side`; None
            changes nothing.
    """

    data: Path
    out: Path
    train_config: str
    config: str
    checkpoint: Path | None = None
    init_from: Path | None = None
    backbone_weights: str = RANDOM
    text_encoder: str = RANDOM
    tokenizer: str = "auto"
    device: str = "auto"
    workers: int = 0
    save_every: int = 500
    changes: Mapping[str, int | float | str | bool | tuple[int, ...] | None] = field(default_factory=dict)


def windows_and_images(parts: DataParts, presence: Presence, config: ReferringTrainConfig) -> list[ClipSource]:
    """The clips of an epoch of SOC: image sets, then every window of every video."""
    return [
        *(ImageClips(file, parts.images, config.frames, faithful=config.faithful) for file in parts.image_files),
        ReferringClips(parts.videos.dataset, parts.videos.annotations, presence, config.frames),
    ]


def flip_and_resize(config: ReferringTrainConfig) -> Transform:
    """How SOC augments clips."""
    return FlipAndResize(resize=config.resize, faithful=config.faithful)


def unchanged(network: nn.Module, faithful: bool) -> None:
    """Prepare nothing."""


class TrainableModel(Protocol):
    """How one kind of model is built, saved and used; `rvos_layers.inference.model_factory.ModelFactory` is one."""

    @property
    def configs(self) -> Mapping[str, Any]:
        """Configurations by name; the text encoder's is called `text`."""
        ...

    def build_with_weights(self, config: str, checkpoint: Path | None, seed: int | None = None) -> nn.Module:
        """The network with the weights of a file, or with random ones from `seed`."""
        ...

    def tokenizer(self, name: str, text: Any) -> Tokenize:
        """The tokenizer of a name, as `rvos_layers.encoders.tokenizer.tokenizer_name` gives it."""
        ...

    def save(self, target: Path, network: nn.Module, config: str, training: Mapping[str, Any]) -> None:
        """Write weights for inference; `training` as of `ModelCheckpoints.save`."""
        ...

    def predictor(self, network: nn.Module, tokenizer: Any, resize: ResizeRule, device: torch.device) -> Predictor:
        """A predictor that segments videos with the network, at a frame size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFactory:
    """How one kind of model is trained.

    Attributes:
        model: how the model is built, saved and used.
        train_configs: configurations of its training by name, the default first.
        with_losses: joins a network and its losses; gets whether training is faithful.
        sources: where clips come from.
        transform: how clips are augmented.
        prepare: changes a network before training; gets whether training is faithful.
        multiple: height and width of a batch's frames are multiples of this many pixels.
    """

    model: TrainableModel
    train_configs: Mapping[str, ReferringTrainConfig]
    with_losses: Callable[[Any, bool], ModelWithLoss]
    sources: Sources = windows_and_images
    transform: Callable[[ReferringTrainConfig], Transform] = flip_and_resize
    prepare: Callable[[Any, bool], None] = unchanged
    multiple: int = 1

    def train_config(self, request: TrainingRequest) -> ReferringTrainConfig:
        """The training's configuration with the changes of the request.

        Raises:
            ValueError: a changed value is out of range; says which.
        """
        chosen = self.train_configs[request.train_config]
        changes: dict[str, Any] = {name: value for name, value in request.changes.items() if value is not None}
        if (short := changes.pop("short_side", None)) is not None:
            changes["resize"] = replace(chosen.resize, short=short)
        names = {one.name for one in fields(chosen.optimisation)} & changes.keys()
        optimisation = {name: changes.pop(name) for name in names}
        if optimisation.get("text_encoder_lr") == 0:
            optimisation["text_encoder_lr"] = None
        return replace(chosen, **changes, optimisation=replace(chosen.optimisation, **optimisation))

    def train(self, request: TrainingRequest, config: ReferringTrainConfig) -> Trainer:
        """Train to the end. `config` may be any configuration; the request's name of one is not used.

        Raises:
            TrainingError: parts of the data or initial weights are missing, or a checkpoint does not fit.
        """
        accelerator = open_devices(request.device, config.precision)
        parts = open_parts(request.data, config.images, config.videos)
        network = self.network(request, config.seed)
        self.prepare(network, config.faithful)
        named = self.tokenizer_name(request)
        tokenizer = self.model.tokenizer(named, self.model.configs[request.config].text)
        training = {
            "tokenizer": named,
            "short_side": config.resize.short,
            "precision": config.precision,
            "recipe": request.train_config,
        }
        data, identity = self._data(request, parts, config, tokenizer, accelerator)
        trainer = Trainer(
            self.with_losses(network, config.faithful),
            data,
            config,
            request.out,
            accelerator,
            settings={
                "config": request.config,
                "tokenizer": named,
                **parts.settings(identity),
            },
            save_weights=lambda path: self.model.save(path, network, request.config, training),
            validate=self._validation(parts.validation, network, tokenizer, config, request.out, accelerator),
            workers=request.workers,
            save_every=request.save_every,
        )
        trainer.run()
        return trainer

    def network(self, request: TrainingRequest, seed: int) -> nn.Module:
        """The network with its initial weights."""
        network: Any = self.model.build_with_weights(request.config, request.checkpoint, seed)
        if request.checkpoint is None and request.init_from is not None:
            load_common_weights(network, request.init_from)
        if request.checkpoint is None and request.backbone_weights != RANDOM:
            load_backbone(network.video.backbone, Path(request.backbone_weights))
        if request.checkpoint is None and request.text_encoder != RANDOM:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # roberta-base has no pooler; its weights are random
                load_text_encoder(network.text, request.text_encoder)
        return network

    def tokenizer_name(self, request: TrainingRequest) -> str:
        """The tokenizer of the initial text encoder."""
        return tokenizer_name(
            request.tokenizer,
            usual=self.model.configs[request.config].text.tokenizer,
            untrained=request.checkpoint is None and request.text_encoder == RANDOM,
            origin=None if request.checkpoint is None else Origin.read(request.checkpoint),
        )

    def _data(
        self,
        request: TrainingRequest,
        parts: DataParts,
        config: ReferringTrainConfig,
        tokenizer: Tokenize,
        accelerator: Accelerator,
    ) -> tuple[TrainingData, dict[str, str]]:
        """The data after a look at all of it, and hashes of its parts."""
        with accelerator.main_process_first():  # the others read its file
            read = ReadOnce(request.out / DATA_FILE)
            presence = check_training_videos(parts.videos, read)
            sources = self.sources(parts, presence, config)
            image_sets = [source for source in sources if isinstance(source, ImageClips)]
            for clips in image_sets:
                check_images(clips, read)
            if parts.validation is not None:
                check_validation_videos(parts.validation, read)
            if accelerator.is_main_process:
                check_expressions(parts.videos, image_sets, tokenizer)
                _report_skipped(image_sets)
        data = TrainingData(sources, self.transform(config), tokenizer, config.seed, self.multiple)
        return data, read.identity

    def _validation(
        self,
        videos: AnnotatedVideos | None,
        network: nn.Module,
        tokenizer: Tokenize,
        config: ReferringTrainConfig,
        out: Path,
        accelerator: Accelerator,
    ) -> Validation | None:
        if videos is None:
            return None
        predictor = self.model.predictor(network, tokenizer, config.resize, accelerator.device)
        return Validation(videos, predictor, out / "validation")


def _report_skipped(image_sets: Iterable[ImageClips]) -> None:
    for clips in image_sets:
        if clips.skipped:
            reasons = ", ".join(f"{count} with {reason}" for reason, count in clips.skipped.items())
            log.info(f"{clips.file.name}: training on {len(clips)} expressions, left out {reasons}")
