"""True masks made worse on purpose: they stand in for the masks of models where there are no weights to run.

Nothing here is a prediction. The mistakes are of the kinds that real members of an ensemble make, in different places
for every member and expression, which is what a vote lives on.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fusion_core.annotations import objects_in
from fusion_core.drawing import smooth_noise

Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failings:
    """How good a member is.

    Attributes:
        roughness: how far boundaries are off, in pixels (one standard deviation).
        lost: share of the frames, in one stretch, in which the object is not found.
        confused: share of the frames, in one stretch, in which another object of the video is taken for it.
        leaking: share of the frames, in one stretch, in which part of the background is added.
        bitten: share of the frames, in one stretch, in which part of the object is left out.
    """

    roughness: float
    lost: float = 0.0
    confused: float = 0.0
    leaking: float = 0.0
    bitten: float = 0.0


def spoil(
    labels: npt.NDArray[np.uint8], label: int, failings: Failings, rng: np.random.Generator
) -> tuple[Masks, npt.NDArray[np.float32]]:
    """Worse masks of one object, and how sure a member would be of them.

    Args:
        labels: uint8 [T, H, W], the true label images of a video.
        label: of the object.
        failings: what goes wrong.
        rng: says where.

    Returns:
        Masks bool [T, H, W] and scores float32 [T], lower where a stretch of mistakes is.
    """
    masks = labels == label
    lost, confused, leaking, bitten = (
        _stretch(len(labels), share, rng)
        for share in (failings.lost, failings.confused, failings.leaking, failings.bitten)
    )
    others = sorted(objects_in(labels.reshape(-1, labels.shape[-1])) - {label})
    if others:
        masks[confused] = labels[confused] == rng.choice(others)
    for t in range(len(masks)):
        if leaking[t]:
            masks[t] |= _disk_on(masks[t], rng)
        if bitten[t]:
            masks[t] &= ~_disk_on(masks[t], rng)
        masks[t] = _rough(masks[t], failings.roughness, rng)
    masks[lost] = False
    troubles = np.sum([lost, confused, leaking, bitten], axis=0)
    scores = 0.9 - 0.2 * troubles + rng.normal(0, 0.03, len(masks))
    return masks, np.clip(scores, 0, 1).astype(np.float32)


def _stretch(length: int, share: float, rng: np.random.Generator) -> Masks:
    """bool [length], true in one stretch of this share of it."""
    count = round(share * length)
    start = rng.integers(0, length - count + 1)
    return (start <= np.arange(length)) & (np.arange(length) < start + count)


def _rough(mask: Masks, pixels: float, rng: np.random.Generator) -> Masks:
    """The mask with its boundary moved in and out by smooth noise."""
    if not mask.any():
        return mask
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    reach = round(5 * pixels)
    window = slice(max(top - reach, 0), top + height + reach), slice(max(left - reach, 0), left + width + reach)
    part = mask[window]
    inside = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rough = np.zeros_like(mask)
    rough[window] = inside - outside + pixels * smooth_noise(rng, part.shape, cell=12) > 0
    return rough


def _disk_on(mask: Masks, rng: np.random.Generator) -> Masks:
    """A disk around a pixel of the mask, about half as large as the mask."""
    pixels = np.argwhere(mask)
    blob = np.zeros(mask.shape, np.uint8)
    if len(pixels):
        y, x = pixels[rng.integers(len(pixels))]
        cv2.circle(blob, (int(x), int(y)), round(np.sqrt(len(pixels) / 5)), 1, thickness=-1)
    return blob.astype(bool)
