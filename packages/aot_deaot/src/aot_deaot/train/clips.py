"""Clips of annotated videos for a propagator: frames, and the object of every pixel.

The objects of a clip are some of those that its first frame shows. Each gets a random slot of the network (section 4.1
of the AOT paper), so that the network does not learn which number belongs to which object.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from mask_interchange import MaskInterchangeError
from numpy.typing import NDArray
from rvos_training.data.batches import BatchIndices, epoch_batches
from rvos_training.data.clips import sample_window
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.errors import TrainingError
from torch import Tensor

from aot_deaot.config import NetworkConfig
from aot_deaot.preprocess import network_image, network_size
from aot_deaot.settings import SizeLimits
from aot_deaot.train.configs import PropagationTrainConfig

MIN_PIXELS = 16  # of an object on the first frame
MAX_TRIES = 1000  # clips to sample until one shows an object
ALONE = 0.5  # fraction of clips in which one object is followed and the others are background


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationBatch:
    """B clips of T frames.

    Attributes:
        frames: float32 [B, T, 3, h, w], normalised, at network size.
        labels: int64 [B, T, H, W], the slot of every pixel at video size; those of the first frame are given.
        names: of the clips, for messages.
    """

    frames: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(self, frames=self.frames.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledClip:
    """Some frames of a video.

    Attributes:
        name: for messages.
        frames: uint8 [T, H, W, 3] RGB.
        labels: uint8 [T, H, W], object ids.
    """

    name: str
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class PropagationData:
    """Random clips. A clip depends on (seed, epoch, index) alone, the frame size of a batch on its first clip.

    Args:
        videos: to sample clips from.
        train_config: number, length and size of clips.
        config: of the network.

    Raises:
        TrainingError: there are no videos.
    """

    def __init__(self, videos: AnnotatedVideos, train_config: PropagationTrainConfig, config: NetworkConfig) -> None:
        self.videos = list(videos.dataset.videos.values())
        self.train_config = train_config
        self.config = config
        self.limits = SizeLimits.of(config)
        self.store = FrameStore(videos)
        if not self.videos:
            raise TrainingError("there is nothing to train on: the data set has no video")

    def __len__(self) -> int:
        return self.train_config.samples

    def batches(self, epoch: int, batch_size: int, process: int = 0, processes: int = 1) -> list[BatchIndices]:
        """The batches of one process in one epoch; see `epoch_batches`."""
        return epoch_batches(len(self), self.train_config.seed, epoch, batch_size, process, processes)

    def __getitem__(self, batch: BatchIndices) -> PropagationBatch | Exception:
        try:
            randoms = [np.random.default_rng((self.train_config.seed, batch.epoch, index)) for index in batch.indices]
            scale = float(randoms[0].choice(self.train_config.scales))
            return self._batch([(self.clip(random), random) for random in randoms], scale)
        except (TrainingError, MaskInterchangeError) as error:
            return error

    def clip(self, random: np.random.Generator) -> LabelledClip:
        """Some frames of any video, forwards or backwards, sometimes mirrored; the first one shows an object.

        Raises:
            TrainingError: no such clip is found.
            DatasetError: a file is missing or unreadable; says which.
        """
        for _ in range(MAX_TRIES):
            video = self.videos[random.integers(len(self.videos))]
            frames = sample_window(len(video), self.train_config.frames, self.train_config.max_step, random)
            frames = frames if random.random() < 0.5 else frames[::-1]
            if len(_objects(self.store.read(video, frames[0])[1])):
                break
        else:
            raise TrainingError(
                f"{MAX_TRIES} clips in a row begin without any object; check that all videos have masks"
            )
        images, labels = zip(*(self.store.read(video, frame) for frame in frames), strict=True)
        side = slice(None, None, -1 if random.random() < 0.5 else 1)
        name = f"video {video.id}, frames {', '.join(video.frame_names[frame] for frame in frames)}"
        return LabelledClip(name, np.stack(images)[:, :, side], np.stack(labels)[:, :, side])

    def _batch(self, clips: list[tuple[LabelledClip, np.random.Generator]], scale: float) -> PropagationBatch:
        sizes = {clip.labels.shape[1:] for clip, _ in clips}
        if len(sizes) > 1:
            raise TrainingError(
                f"expected videos of one size in a batch, found {sorted(sizes)}; use batches of one clip"
            )
        size = network_size(sizes.pop(), scale, self.limits, self.config.align_corners)
        return PropagationBatch(
            frames=torch.stack([torch.cat([network_image(f, size) for f in clip.frames]) for clip, _ in clips]),
            labels=torch.stack([_slots(clip.labels, self.config.max_objects, random) for clip, random in clips]),
            names=tuple(clip.name for clip, _ in clips),
        )


def _objects(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Ids of the objects that are large enough to be followed."""
    sizes = np.bincount(labels.ravel())
    return np.flatnonzero(sizes[1:] >= MIN_PIXELS) + 1


def _slots(labels: NDArray[np.uint8], slots: int, random: np.random.Generator) -> Tensor:
    """Turn object ids [T, H, W] into random slots int64, and objects that are not followed into 0."""
    objects = random.permutation(_objects(labels[0]))
    followed = objects[:1] if random.random() < ALONE else objects[:slots]
    table = np.zeros(256, np.int64)
    table[followed] = 1 + random.permutation(slots)[: len(followed)]
    return torch.from_numpy(table[labels])
