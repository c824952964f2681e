"""Clips as SOC is trained on them: flipped now and then, resized, normalised.

Source: `A2dSentencesTransforms` of the challenge code, used for every data set.
"""

import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import torch
from rvos_layers.preprocess import ResizeRule, normalise, resize_frame
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_convert

from rvos_training.clips import Clip

FLIP_PROBABILITY = 0.5
PUBLISHED_FLIP_PROBABILITY = NormalDist().cdf(-0.5)  # a standard normal number is compared with 0.5
SIDES = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A clip as a network takes it.

    Attributes:
        name: for messages.
        text: the sentence.
        frames: float32[T, 3, h, w], normalised.
        masks: bool[T, h, w].
        boxes: float32[T, 4] as (cx, cy, w, h) in fractions of the frame.
        visible: bool[T].
    """

    name: str
    text: str
    frames: Tensor
    masks: Tensor
    boxes: Tensor
    visible: Tensor


class Transform(Protocol):
    """Makes a sample of a clip; a model has its own."""

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """Draw what is left to chance from `random` alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipAndResize:
    """Mirrors the whole clip with probability one half, sentence included, and resizes it.

    Attributes:
        resize: size of the frames.
        faithful: as published, flips come with probability 0.309, and the empty box of a frame without the object
            moves to the right edge when flipped.
    """

    resize: ResizeRule
    faithful: bool = False

    @property
    def flip_probability(self) -> float:
        """How often clips are flipped."""
        return PUBLISHED_FLIP_PROBABILITY if self.faithful else FLIP_PROBABILITY

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """The clip, flipped or not."""
        return self.apply(clip, flip=random.random() < self.flip_probability)

    def apply(self, clip: Clip, flip: bool) -> Sample:
        """The clip with the choice made."""
        frames, masks, boxes, text = clip.frames, clip.masks, clip.boxes, clip.text
        height, width = masks.shape[1:]
        if flip:
            frames, masks, text = frames[:, :, ::-1], masks[:, :, ::-1], swap_sides(text)
            flipped = np.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1)
            boxes = flipped if self.faithful else np.where(clip.visible[:, None], flipped, boxes)
        size = self.resize.size((height, width))
        fractions = boxes / np.array((width, height, width, height), np.float32)
        return Sample(
            name=clip.name,
            text=text,
            frames=normalise(torch.from_numpy(np.stack([resize_frame(frame, size) for frame in frames]))),
            masks=resize_masks(torch.from_numpy(masks.copy()), size),
            boxes=box_convert(torch.from_numpy(fractions), "xyxy", "cxcywh"),
            visible=torch.from_numpy(clip.visible),
        )


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bool[T, H, W] to bool[T, *size]; a pixel takes the value at its upper left corner, as published."""
    return interpolate(masks[:, None].byte(), size=size, mode="nearest")[:, 0].bool()


def swap_sides(text: str) -> str:
    """Exchange left and right, also in `leftmost` but not in `upright`."""
    return re.sub(r"\b(left|right|Left|Right)", lambda found: SIDES[found[0]], text)
