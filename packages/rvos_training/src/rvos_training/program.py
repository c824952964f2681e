"""From what was asked for to a trainer: the same for every model."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rvos_layers.checkpoint import save_converted
from rvos_layers.predictor import VideoPredictor
from rvos_layers.program import ModelProgram
from rvos_layers.tokenizer import Tokenizer
from torch import nn

from rvos_training.clips import ClipSource
from rvos_training.data_parts import AnnotatedVideos, DataParts, open_parts
from rvos_training.image_clips import ImageClips
from rvos_training.initial_weights import load_backbone, load_relative, load_text_encoder
from rvos_training.learner import Answers, Learner
from rvos_training.losses import Criterion
from rvos_training.object_presence import Presence, object_presence
from rvos_training.recipe import Recipe
from rvos_training.referring_clips import ReferringClips
from rvos_training.request import RANDOM, TrainingRequest
from rvos_training.trainer import Trainer
from rvos_training.training_data import TrainingData
from rvos_training.transforms import FlipAndResize, Transform
from rvos_training.validation import Validation

Sources = Callable[[DataParts, Presence, Recipe], list[ClipSource]]
PRESENCE_FILE = "object_presence.json"
SAY_EVERY = 200  # videos


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgram:
    """How one kind of model is trained.

    Attributes:
        model: how it is made for inference.
        recipes: by name.
        answers: what its decoder layers say in training.
        criterion: its losses; gets `Recipe.faithful`.
        sources: where its clips come from.
        transform: what is done with them.
        set_up: readies a network for training; gets `Recipe.faithful`.
        multiple: batches are padded to this many pixels.
    """

    model: ModelProgram[Any]
    recipes: Mapping[str, Recipe]
    answers: Answers
    criterion: Callable[[bool], Criterion]
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
            Learner(network, self.answers, self.criterion(recipe.faithful)),
            self._data(request, parts, recipe, tokenizer, accelerator),
            recipe,
            request.out,
            accelerator,
            settings={
                "config": request.config,
                "tokenizer": request.tokenizer,
                "data": parts.videos.dataset.identity,
            },
            save_weights=lambda path: self._save_weights(path, network, request.config),
            validate=_validation(parts.validation, network, tokenizer, recipe, request.out, accelerator),
            workers=request.workers,
            save_every=request.save_every,
        )
        trainer.run()
        return trainer

    def network(self, request: TrainingRequest, seed: int) -> nn.Module:
        """The network with the weights that training starts from."""
        network: Any = self.model.filled(request.config, request.checkpoint, seed)
        if request.checkpoint is None and request.relative is not None:
            load_relative(network, request.relative)
        if request.checkpoint is None and request.backbone != RANDOM:
            load_backbone(network.video.backbone, Path(request.backbone))
        if request.checkpoint is None and request.text_encoder != RANDOM:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # roberta-base comes without a pooler, which is drawn
                load_text_encoder(network.text, request.text_encoder)
        return network

    def tokenizer(self, request: TrainingRequest) -> Tokenizer:
        """The tokenizer of the text encoder that training starts from."""
        untrained = request.checkpoint is None and request.text_encoder == RANDOM
        return self.model.tokenizer(request.tokenizer, self.model.configs[request.config].text, untrained)

    def _data(
        self,
        request: TrainingRequest,
        parts: DataParts,
        recipe: Recipe,
        tokenizer: Tokenizer,
        accelerator: Accelerator,
    ) -> TrainingData:
        with accelerator.main_process_first():  # the others find what it has counted
            presence = object_presence(
                parts.videos.dataset, parts.videos.annotations, request.out / PRESENCE_FILE, _say_progress
            )
        sources = self.sources(parts, presence, recipe)
        return TrainingData(sources, self.transform(recipe), tokenizer, recipe.seed, self.multiple)

    def _save_weights(self, path: Path, network: nn.Module, config: str) -> None:
        save_converted(path, network, name=self.model.name, config=config, source_sha256="")


def _validation(
    videos: AnnotatedVideos | None,
    network: nn.Module,
    tokenizer: Tokenizer,
    recipe: Recipe,
    out: Path,
    accelerator: Accelerator,
) -> Validation | None:
    if videos is None:
        return None
    segmenter: Any = network
    predictor = VideoPredictor(segmenter, tokenizer, recipe.resize, device=accelerator.device)
    return Validation(videos, predictor, out / "validation")


def _say_progress(done: int, total: int) -> None:
    if done == total or done % SAY_EVERY == 0:
        print(f"reading annotations: {done} of {total} videos", file=sys.stderr)
