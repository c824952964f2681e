"""Clips of annotated videos as a propagator is trained on them: frames, and what every pixel belongs to.

The objects of a clip are some of those that its first frame shows. Which slot of the network an object gets is left to
chance (section 4.1 of the AOT paper): the network is not to know objects by their number.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from mask_interchange import MaskInterchangeError
from numpy.typing import NDArray
from rvos_training.data.batches import Request, requests_of
from rvos_training.data.clips import any_window
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.errors import TrainingError
from torch import Tensor

from aot_deaot.config import NetworkConfig
from aot_deaot.preprocess import network_image, network_size
from aot_deaot.settings import SizeLimits
from aot_deaot.train.configs import PropagationRecipe

LEAST_PIXELS = 16  # of an object on the first frame
TRIES = 1000  # clips that are drawn before it is given up to find one that shows an object
ALONE = 0.5  # share of the clips of which one object is followed and the others are background


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
    """Random clips; each is drawn from (seed, epoch, place) alone, the size of a batch from its first place.

    Args:
        videos: what to draw from.
        recipe: length of clips, sizes, how many.
        config: of the network.
    """

    def __init__(self, videos: AnnotatedVideos, recipe: PropagationRecipe, config: NetworkConfig) -> None:
        self.videos = list(videos.dataset.videos.values())
        self.recipe = recipe
        self.config = config
        self.limits = SizeLimits.of(config)
        self.store = FrameStore(videos)
        if not self.videos:
            raise TrainingError("there is nothing to train on: the data set has no video")

    def __len__(self) -> int:
        return self.recipe.samples

    def requests(self, epoch: int, batch: int, process: int = 0, processes: int = 1) -> list[Request]:
        """One epoch's batches of one process; see `requests_of`."""
        return requests_of(len(self), self.recipe.seed, epoch, batch, process, processes)

    def __getitem__(self, request: Request) -> PropagationBatch | Exception:
        try:
            randoms = [np.random.default_rng((self.recipe.seed, request.epoch, place)) for place in request.places]
            scale = float(randoms[0].choice(self.recipe.scales))
            return self._batch([(self.clip(random), random) for random in randoms], scale)
        except (TrainingError, MaskInterchangeError) as error:
            return error

    def clip(self, random: np.random.Generator) -> LabelledClip:
        """Some frames of any video, forwards or backwards, plain or mirrored; the first one shows an object.

        Raises:
            TrainingError: no such clip is found.
            DatasetError: a file is missing or unreadable; says which.
        """
        for _ in range(TRIES):
            video = self.videos[random.integers(len(self.videos))]
            frames = any_window(len(video), self.recipe.frames, self.recipe.longest_step, random)
            frames = frames if random.random() < 0.5 else frames[::-1]
            if len(_objects(self.store.read(video, frames[0])[1])):
                break
        else:
            raise TrainingError(f"{TRIES} clips in a row begin without any object; are there masks of all videos?")
        images, labels = zip(*(self.store.read(video, frame) for frame in frames), strict=True)
        side = slice(None, None, -1 if random.random() < 0.5 else 1)
        name = f"video {video.id}, frames {', '.join(video.frame_names[frame] for frame in frames)}"
        return LabelledClip(name, np.stack(images)[:, :, side], np.stack(labels)[:, :, side])

    def _batch(self, drawn: list[tuple[LabelledClip, np.random.Generator]], scale: float) -> PropagationBatch:
        sizes = {clip.labels.shape[1:] for clip, _ in drawn}
        if len(sizes) > 1:
            raise TrainingError(f"videos of one size can be trained on together, found {sorted(sizes)}; use --batch 1")
        size = network_size(sizes.pop(), scale, self.limits, self.config.align_corners)
        return PropagationBatch(
            frames=torch.stack([torch.cat([network_image(f, size) for f in clip.frames]) for clip, _ in drawn]),
            labels=torch.stack([_slots(clip.labels, self.config.max_objects, random) for clip, random in drawn]),
            names=tuple(clip.name for clip, _ in drawn),
        )


def _objects(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Ids of the objects that are large enough to be followed."""
    sizes = np.bincount(labels.ravel())
    return np.flatnonzero(sizes[1:] >= LEAST_PIXELS) + 1


def _slots(labels: NDArray[np.uint8], slots: int, random: np.random.Generator) -> Tensor:
    """Object ids [T, H, W] to any slots int64; objects that are not followed to 0."""
    objects = random.permutation(_objects(labels[0]))
    followed = objects[:1] if random.random() < ALONE else objects[:slots]
    table = np.zeros(256, np.int64)
    table[followed] = 1 + random.permutation(slots)[: len(followed)]
    return torch.from_numpy(table[labels])
