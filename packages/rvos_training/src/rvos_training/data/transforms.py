"""Clips as SOC trains on them: sometimes mirrored, resized, normalised.

Source: `A2dSentencesTransforms` of the challenge code, used for every data set.
"""

import re
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol

import numpy as np
import torch
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import normalise, resize_frame
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_convert

from rvos_training.data.clips import Clip

FLIP_PROBABILITY = 0.5
PUBLISHED_FLIP_PROBABILITY = NormalDist().cdf(-0.5)  # the published code compares a standard normal number with 0.5
SIDES = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A clip as a network takes it.

    Attributes:
        name: for messages.
        text: the expression.
        frames: float32[T, 3, h, w], normalised.
        masks: bool[T, h, w].
        boxes: float32[T, 4] as (cx, cy, w, h) in fractions of the frame.
        visible: bool[T].
        labels: uint8[T, h, w] or None, as in `Clip`.
    """

    name: str
    text: str
    frames: Tensor
    masks: Tensor
    boxes: Tensor
    visible: Tensor
    labels: Tensor | None = None


class Transform(Protocol):
    """Makes a sample of a clip."""

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """The sample; `random` alone decides what is random about it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipAndResize:
    """Mirrors the whole clip and its expression with probability one half, and resizes it.

    Attributes:
        resize: size of the frames.
        faithful: as published, clips are mirrored with probability 0.309, the empty box of a frame without the object
            moves to the right edge, and words are exchanged as `swap_sides` says.
    """

    resize: ResizeRule
    faithful: bool = False

    @property
    def flip_probability(self) -> float:
        """Probability that a clip is mirrored."""
        return PUBLISHED_FLIP_PROBABILITY if self.faithful else FLIP_PROBABILITY

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """The clip, mirrored or not."""
        return self.apply(clip, flip=random.random() < self.flip_probability)

    def apply(self, clip: Clip, flip: bool) -> Sample:
        """The clip, mirrored where `flip` is true."""
        clip = mirrored(clip, move_empty_boxes=self.faithful, faithful_words=self.faithful) if flip else clip
        return sample_of(rescaled(clip, self.resize.size(clip.size)))


def mirrored(clip: Clip, *, move_empty_boxes: bool = False, faithful_words: bool = False) -> Clip:
    """The clip with left and right exchanged, in the expression too.

    Args:
        clip: the clip to mirror.
        move_empty_boxes: move the boxes of frames without the object to the right edge.
        faithful_words: as `faithful` of `swap_sides`.
    """
    boxes = clip.boxes.copy()
    boxes[:, [0, 2]] = clip.size[1] - clip.boxes[:, [2, 0]]
    if not move_empty_boxes:
        boxes = np.where(clip.visible[:, None], boxes, clip.boxes)
    return replace(
        clip,
        frames=clip.frames[:, :, ::-1],
        masks=clip.masks[:, :, ::-1],
        labels=None if clip.labels is None else clip.labels[:, :, ::-1],
        boxes=boxes,
        text=swap_sides(clip.text, faithful_words),
    )


def rescaled(clip: Clip, size: tuple[int, int]) -> Clip:
    """The clip with frames of (height, width); a visible object counts as visible even if no pixel of it is left."""
    factors = np.array(size[::-1] * 2, np.float32) / np.array(clip.size[::-1] * 2, np.float32)
    return replace(
        clip,
        frames=np.stack([resize_frame(frame, size) for frame in clip.frames]),
        masks=resize_masks(torch.from_numpy(clip.masks.copy()), size).numpy(),
        labels=None if clip.labels is None else resize_labels(torch.from_numpy(clip.labels.copy()), size).numpy(),
        boxes=clip.boxes * factors,
    )


def sample_of(clip: Clip) -> Sample:
    """The clip as a network takes it."""
    height, width = clip.size
    return Sample(
        name=clip.name,
        text=clip.text,
        frames=normalise(torch.from_numpy(clip.frames)),
        masks=torch.from_numpy(clip.masks),
        boxes=box_convert(torch.from_numpy(clip.boxes / np.array((width, height) * 2, np.float32)), "xyxy", "cxcywh"),
        visible=torch.from_numpy(clip.visible),
        labels=None if clip.labels is None else torch.from_numpy(clip.labels.copy()),
    )


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bool[T, H, W] to bool[T, *size]; a pixel gets the value at its upper left corner, as published."""
    return resize_labels(masks.byte(), size).bool()


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8[T, H, W] as `resize_masks` does."""
    return interpolate(labels[:, None], size=size, mode="nearest")[:, 0]


def swap_sides(text: str, faithful: bool = False) -> str:
    """Exchange the words left and right, also in `leftmost` but not in `upright`.

    Args:
        text: an expression.
        faithful: as published, in lower case only and inside words, too: `upright` becomes `upleft`.
    """
    pattern = "(left|right)" if faithful else r"\b(left|right|Left|Right)"
    return re.sub(pattern, lambda found: SIDES[found[0]], text)
