"""How ReferFormer and MUTR are trained: with the same data, transforms, matching and losses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.model_factory import ModelFactory

from rvos_training.command.trainer_factory import TrainerFactory
from rvos_training.data.anchored_clips import AnchoredClips
from rvos_training.data.augmentation import BASE, OF_CLIPS, OF_IMAGES
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import DataParts
from rvos_training.data.image_clips import ImageClips
from rvos_training.data.object_presence import Presence
from rvos_training.data.transforms import Transform
from rvos_training.loop.model_with_loss import with_losses
from rvos_training.loop.train_config import ReferringTrainConfig
from rvos_training.losses.grounded_objective import criterion, layer_predictions

MULTIPLE = 32  # height and width of a batch's frames are multiples of this many pixels


def grounded_trainer_factory(
    model: ModelFactory[Any], train_configs: Mapping[str, ReferringTrainConfig]
) -> TrainerFactory:
    """How one of the two is trained."""
    return TrainerFactory(
        model=model,
        train_configs=train_configs,
        with_losses=with_losses(layer_predictions, criterion),
        sources=anchors_and_images,
        transform=augmentation,
        prepare=set_faithful,
        multiple=MULTIPLE,
    )


def anchors_and_images(parts: DataParts, presence: Presence, config: ReferringTrainConfig) -> list[ClipSource]:
    """The clips of an epoch: image sets, then clips around every few frames of every video."""
    return [
        *(ImageClips(file, parts.images, config.frames, faithful=config.faithful) for file in parts.image_files),
        AnchoredClips(parts.videos.dataset, parts.videos.annotations, presence, config.frames),
    ]


def augmentation(config: ReferringTrainConfig) -> Transform:
    """How clips are augmented. The published sizes are for a short side of 360; others are scaled."""
    published = OF_CLIPS if config.videos else OF_IMAGES
    return replace(published.scaled(config.resize.short / BASE), faithful=config.faithful)


def set_faithful(network: GroundedSegmenter, faithful: bool) -> None:
    """Tell the network whether to bring back what looks like faults of the published training."""
    network.faithful = faithful
