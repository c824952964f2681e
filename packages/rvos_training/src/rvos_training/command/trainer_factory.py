"""From what was asked for to a trainer: the same for every model."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from rvos_layers.inference.config import ResizeRule
from torch import nn

from rvos_training.data.batches import Tokenize
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import AnnotatedVideos, DataParts, open_parts
from rvos_training.data.image_clips import ImageClips
from rvos_training.data.object_presence import Presence, object_presence
from rvos_training.data.referring_clips import ReferringClips
from rvos_training.data.training_data import TrainingData
from rvos_training.data.transforms import FlipAndResize, Transform
from rvos_training.loop.contract import TrainingModule
from rvos_training.loop.initial_weights import load_backbone, load_relative, load_text_encoder
from rvos_training.loop.train_config import Recipe
from rvos_training.loop.trainer import Trainer
from rvos_training.loop.validation import Predictor, Validation

Sources = Callable[[DataParts, Presence, Recipe], list[ClipSource]]
PRESENCE_FILE = "object_presence.json"
SAY_EVERY = 200  # videos
RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """One training.

    Attributes:
        data: folder of the data set, see `data_parts`.
        out: folder for checkpoints, logs and weights; a training that is there goes on.
        recipe: name of the recipe.
        config: name of the network's configuration.
        checkpoint: whole network to start from; None to start from `backbone` and `text_encoder`.
        backbone: file of a Video-Swin trained on Kinetics, or `random`.
        text_encoder: folder or hub id of RoBERTa, or `random`.
        relative: weights of another network, in our names; what fits by name and shape replaces random ones.
        tokenizer: as in inference.
        device: `auto` or `cpu`.
        workers: processes that read samples ahead.
        save_every: steps between checkpoints.
        changes: of the recipe's fields, and `short_side`; None leaves one as it is.
    """

    data: Path
    out: Path
    recipe: str
    config: str
    checkpoint: Path | None = None
    backbone: str = RANDOM
    text_encoder: str = RANDOM
    relative: Path | None = None
    tokenizer: str = "auto"
    device: str = "auto"
    workers: int = 0
    save_every: int = 500
    changes: Mapping[str, int | str | bool | None] = field(default_factory=dict)


def windows_and_images(parts: DataParts, presence: Presence, recipe: Recipe) -> list[ClipSource]:
    """What SOC sees in an epoch: image sets, then every window of every video."""
    return [
        *(ImageClips(file, parts.images, recipe.frames) for file in parts.image_files),
        ReferringClips(parts.videos.dataset, parts.videos.annotations, presence, recipe.frames),
    ]


def flip_and_resize(recipe: Recipe) -> Transform:
    """What SOC does with a clip."""
    return FlipAndResize(resize=recipe.resize, faithful=recipe.faithful)


def as_it_is(network: nn.Module, faithful: bool) -> None:
    """Nothing in SOC's network is made ready."""


class TrainableModel(Protocol):
    """How one kind of model is made, kept and used; `rvos_layers.inference.model_factory.ModelFactory` is one."""

    @property
    def configs(self) -> Mapping[str, Any]:
        """Configurations by name; the text encoder's is called `text`."""
        ...

    def build_with_weights(self, config: str, checkpoint: Path | None, seed: int | None = None) -> nn.Module:
        """The network with the weights of a file, or random ones drawn from `seed`."""
        ...

    def tokenizer(self, source: str, text: Any, random: bool) -> Tokenize:
        """The tokenizer of a name; `random` weights decide what `auto` means."""
        ...

    def save(self, target: Path, network: nn.Module, config: str) -> None:
        """Write weights for inference."""
        ...

    def predictor(self, network: nn.Module, tokenizer: Any, resize: ResizeRule, device: torch.device) -> Predictor:
        """The network as it segments videos, with frames of a size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgram:
    """How one kind of model is trained.

    Attributes:
        model: how it is made for inference.
        recipes: by name.
        learner: a network with its losses; gets `Recipe.faithful`.
        sources: where its clips come from.
        transform: what is done with them.
        set_up: readies a network for training; gets `Recipe.faithful`.
        multiple: batches are padded to this many pixels.
    """

    model: TrainableModel
    recipes: Mapping[str, Recipe]
    learner: Callable[[Any, bool], TrainingModule]
    sources: Sources = windows_and_images
    transform: Callable[[Recipe], Transform] = flip_and_resize
    set_up: Callable[[Any, bool], None] = as_it_is
    multiple: int = 1

    def recipe(self, request: TrainingRequest) -> Recipe:
        """The recipe that was asked for, with its changes.

        Raises:
            ValueError: a change makes no sense; says which.
        """
        chosen = self.recipes[request.recipe]
        changes: dict[str, Any] = {name: value for name, value in request.changes.items() if value is not None}
        if (short := changes.pop("short_side", None)) is not None:
            changes["resize"] = replace(chosen.resize, short=short)
        return replace(chosen, **changes)

    def train(self, request: TrainingRequest, recipe: Recipe) -> Trainer:
        """Train to the end; `recipe` is that of the request, or any other.

        Raises:
            TrainingError: parts of the data or initial weights are missing, or a checkpoint does not fit.
        """
        accelerator = Accelerator(cpu=request.device == "cpu", mixed_precision=recipe.precision)
        parts = open_parts(request.data, recipe.images, recipe.videos)
        network = self.network(request, recipe.seed)
        self.set_up(network, recipe.faithful)
        tokenizer = self.tokenizer(request)
        trainer = Trainer(
            self.learner(network, recipe.faithful),
            self._data(request, parts, recipe, tokenizer, accelerator),
            recipe,
            request.out,
            accelerator,
            settings={
                "config": request.config,
                "tokenizer": request.tokenizer,
                "data": parts.videos.dataset.identity,
            },
            save_weights=lambda path: self.model.save(path, network, request.config),
            validate=self._validation(parts.validation, network, tokenizer, recipe, request.out, accelerator),
            workers=request.workers,
            save_every=request.save_every,
        )
        trainer.run()
        return trainer

    def network(self, request: TrainingRequest, seed: int) -> nn.Module:
        """The network with the weights that training starts from."""
        network: Any = self.model.build_with_weights(request.config, request.checkpoint, seed)
        if request.checkpoint is None and request.relative is not None:
            load_relative(network, request.relative)
        if request.checkpoint is None and request.backbone != RANDOM:
            load_backbone(network.video.backbone, Path(request.backbone))
        if request.checkpoint is None and request.text_encoder != RANDOM:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # roberta-base comes without a pooler, which is drawn
                load_text_encoder(network.text, request.text_encoder)
        return network

    def tokenizer(self, request: TrainingRequest) -> Tokenize:
        """The tokenizer of the text encoder that training starts from."""
        untrained = request.checkpoint is None and request.text_encoder == RANDOM
        return self.model.tokenizer(request.tokenizer, self.model.configs[request.config].text, untrained)

    def _data(
        self,
        request: TrainingRequest,
        parts: DataParts,
        recipe: Recipe,
        tokenizer: Tokenize,
        accelerator: Accelerator,
    ) -> TrainingData:
        with accelerator.main_process_first():  # the others find what it has counted
            presence = object_presence(
                parts.videos.dataset, parts.videos.annotations, request.out / PRESENCE_FILE, _say_progress
            )
        sources = self.sources(parts, presence, recipe)
        return TrainingData(sources, self.transform(recipe), tokenizer, recipe.seed, self.multiple)

    def _validation(
        self,
        videos: AnnotatedVideos | None,
        network: nn.Module,
        tokenizer: Tokenize,
        recipe: Recipe,
        out: Path,
        accelerator: Accelerator,
    ) -> Validation | None:
        if videos is None:
            return None
        predictor = self.model.predictor(network, tokenizer, recipe.resize, accelerator.device)
        return Validation(videos, predictor, out / "validation")


def _say_progress(done: int, total: int) -> None:
    if done == total or done % SAY_EVERY == 0:
        print(f"reading annotations: {done} of {total} videos", file=sys.stderr)
