"""How ReferFormer and MUTR are trained: the same data, transforms, matching and losses; only recipes differ."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.model_factory import ModelFactory

from rvos_training.command.trainer_factory import TrainingProgram
from rvos_training.data.anchored_clips import AnchoredClips
from rvos_training.data.augmentation import BASE, OF_CLIPS, OF_IMAGES
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import DataParts
from rvos_training.data.image_clips import ImageClips
from rvos_training.data.object_presence import Presence
from rvos_training.data.transforms import Transform
from rvos_training.loop.model_with_loss import learner_of
from rvos_training.loop.train_config import Recipe
from rvos_training.losses.grounded_objective import answers, criterion

MULTIPLE = 32  # of pixels, to which batches are padded


def grounded_program(model: ModelFactory[Any], recipes: Mapping[str, Recipe]) -> TrainingProgram:
    """How one of the two is trained."""
    return TrainingProgram(
        model=model,
        recipes=recipes,
        learner=learner_of(answers, criterion),
        sources=anchors_and_images,
        transform=augmentation,
        set_up=repeat_faults,
        multiple=MULTIPLE,
    )


def anchors_and_images(parts: DataParts, presence: Presence, recipe: Recipe) -> list[ClipSource]:
    """What is seen in an epoch: image sets, then clips around every few frames of every video."""
    return [
        *(ImageClips(file, parts.images, recipe.frames) for file in parts.image_files),
        AnchoredClips(parts.videos.dataset, parts.videos.annotations, presence, recipe.frames),
    ]


def augmentation(recipe: Recipe) -> Transform:
    """What is done with a clip. The published sizes belong to a short side of 360; others follow the recipe's."""
    published = OF_CLIPS if recipe.videos else OF_IMAGES
    return replace(published.scaled(recipe.resize.short / BASE), faithful=recipe.faithful)


def repeat_faults(network: GroundedSegmenter, faithful: bool) -> None:
    """Tell the network whether to train as published where that looks like a fault."""
    network.faithful = faithful
