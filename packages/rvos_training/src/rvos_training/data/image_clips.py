"""Pseudo-clips from images: RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO.

A clip is the image and altered copies of it, shuffled. The files are those that MDETR prepared: COCO's format, with one
entry in `images` for each expression (its `caption`) and its object in `annotations`. An expression without exactly one
object that has a mask is left out: the challenge trained on files that held no others. gRefCOCO has many.

Source: `datasets/coco/ref2seq.py` of SOC, which alters images with imgaug, a library that does not work with current
numpy. Here kornia does it, with the same ranges. What differs: perspective, rotation and shift are one resampling
instead of two; perspective never folds the image over (a corner moves by at most 0.45 of a side); the kernel of the
motion blur is kornia's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from kornia.filters import motion_blur
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from mask_interchange import DatasetError, MaskInterchangeError, Size, decode_mask, runs_to_counts
from mask_interchange.images import read_rgb
from mask_interchange.json_files import JsonPlace, read_json
from numpy.typing import NDArray
from pycocotools import mask as polygons
from torch import Tensor

from rvos_training.data.clips import Clip

SMALLEST = 1e-6  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class AlteredCopies:
    """How copies of an image differ from it.

    Attributes:
        brightness: largest number added to all values or subtracted from them, of 255.
        perspective: standard deviation of how far corners move inwards, in fractions of a side.
        shift: largest shift, in fractions of a side.
        rotation: largest rotation, in degrees.
        blur_probability: of motion blur, in any direction.
        blur_kernels: sizes of its kernel, in pixels.
    """

    brightness: float = 40.0
    perspective: float = 0.08
    shift: float = 0.1
    rotation: float = 20.0
    blur_probability: float = 0.25
    blur_kernels: tuple[int, ...] = (9, 11)

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.bool_], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """An altered copy of an image [H, W, 3] and the same object's mask [H, W] in it."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        pixels = (pixels + random.uniform(-self.brightness, self.brightness)).clamp(0, 255)
        warp, size = self._warp(mask.shape, random), mask.shape
        pixels = warp_perspective(pixels, warp, size)
        moved = warp_perspective(torch.from_numpy(mask)[None, None].float(), warp, size)[0, 0] > 0.5
        if random.random() < self.blur_probability:
            kernel = int(random.choice(self.blur_kernels))
            pixels = motion_blur(pixels, kernel, float(random.uniform(0, 360)), float(random.uniform(-1, 1)))
        return pixels[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy(), moved.numpy()

    def _warp(self, size: tuple[int, ...], random: np.random.Generator) -> Tensor:
        """The homography [1, 3, 3] from pixels of the image to pixels of the copy."""
        height, width = size
        side = np.array((width, height), np.float64)
        corners = np.array(((0, 0), (1, 0), (1, 1), (0, 1)), np.float64)
        inwards = np.minimum(np.abs(random.normal(0, self.perspective, (4, 2))), 0.45)
        seen = corners + inwards * (1 - 2 * corners)  # these points become the corners of the copy
        angle = np.deg2rad(random.uniform(-self.rotation, self.rotation))
        turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
        shift = random.uniform(-self.shift, self.shift, 2) * side
        placed = (corners - 0.5) * side @ turn.T + side / 2 + shift
        source, target = (torch.from_numpy(points).float()[None] for points in (seen * side, placed))
        return get_perspective_transform(source, target)


@dataclass(frozen=True, slots=True)
class Entry:
    """An expression about an image.

    Attributes:
        image: its file.
        caption: the expression.
        size: (height, width) of the image, as the JSON file says.
        segmentation: of the object; polygons or run lengths.
        place: of the segmentation in the JSON file.
    """

    image: Path
    caption: str
    size: Size
    segmentation: object
    place: JsonPlace


class ImageClips:
    """One pseudo-clip for each expression about an image.

    Args:
        file: the JSON file.
        images: folder of the image files.
        length: frames of a clip.
        copies: how the copies are altered.
        faithful: as published, no number of a box is below `SMALLEST`, also where a copy does not show the object.

    Attributes:
        entries: the expressions to train on.
        skipped: how many expressions are left out, by the reason.

    Raises:
        DatasetError: the file does not have the form described above, or no expression has one object; says where.
    """

    def __init__(
        self, file: Path, images: Path, length: int, copies: AlteredCopies | None = None, faithful: bool = False
    ) -> None:
        self.file = file
        self.length = length
        self.smallest = SMALLEST if faithful else 0.0
        self.copies = copies or AlteredCopies()
        self.skipped: Counter[str] = Counter()
        self.entries = _read_entries(file, images, self.skipped)

    def __len__(self) -> int:
        return len(self.entries)

    def clip(self, index: int, random: np.random.Generator) -> Clip:
        """An image and altered copies of it, in random order."""
        entry = self.entries[index]
        image = read_rgb(entry.image)
        if (found := image.shape[:2]) != entry.size:
            raise DatasetError(_other_size(entry, found))
        mask = _mask_of(entry)
        frames = [(image, mask), *(self.copies(image, mask, random) for _ in range(self.length - 1))]
        order = random.permutation(self.length)
        clip = Clip.of(
            f"{self.file.name}, image {entry.image.name}, {entry.caption!r}",
            entry.caption,
            np.stack([frames[i][0] for i in order]),
            np.stack([frames[i][1] for i in order]),
        )
        return replace(clip, boxes=np.maximum(clip.boxes, np.float32(self.smallest)))

    def size_faults(self, sizes: Mapping[str, Size]) -> Iterator[str]:
        """Entries whose image has another size than they say; `sizes` by the name of the image file."""
        for entry in self.entries:
            if (found := sizes[entry.image.name]) != entry.size:
                yield _other_size(entry, found)

    def mask_faults(self) -> Iterator[str]:
        """Entries whose segmentation cannot be read."""
        for entry in self.entries:
            try:
                _mask_of(entry)
            except DatasetError as error:
                yield f"{error}, of {entry.image.name}, {entry.caption!r}"


def _other_size(entry: Entry, found: Sequence[int]) -> str:
    return (
        f"{entry.image}: expected {entry.size[1]}x{entry.size[0]} pixels as {entry.place} says, "
        f"found {found[1]}x{found[0]}"
    )


def _read_entries(file: Path, images: Path, skipped: Counter[str]) -> list[Entry]:
    at, tree = read_json(file)
    objects: dict[int, list[tuple[JsonPlace, object]]] = {}
    for number, one in enumerate(at.get(tree, "annotations", list)):
        place = at / f"annotations.{number}"
        objects.setdefault(place.get(one, "image_id", int), []).append((place, one))
    entries = []
    for number, image in enumerate(at.get(tree, "images", list)):
        place = at / f"images.{number}"
        identity = place.get(image, "id", int)
        found = [(where, one) for where, one in objects.get(identity, []) if _shows_something(where.typed(one, dict))]
        if len(found) != 1:
            skipped["several objects" if found else "no object"] += 1
            continue
        [(where, one)] = found
        if not where.typed(one, dict).get("segmentation"):
            skipped["no mask"] += 1
            continue
        entries.append(
            Entry(
                image=images / Path(place.get(image, "file_name", str)).name,
                caption=place.get(image, "caption", str),
                size=(place.get(image, "height", int), place.get(image, "width", int)),
                segmentation=where.typed(one, dict).get("segmentation"),
                place=where / "segmentation",
            )
        )
    if not entries:
        raise DatasetError(f"{at / 'images'}: expected at least one expression with one object and a mask, found none")
    return entries


def _shows_something(annotation: Mapping[str, object]) -> bool:
    """Whether an annotation is one of an object; gRefCOCO's converter writes one for "no such object", too."""
    return not annotation.get("empty") and annotation.get("category_id") != -1


def _mask_of(entry: Entry) -> NDArray[np.bool_]:
    """The object's mask [H, W], from polygons or run lengths."""
    height, width = entry.size
    match entry.segmentation:
        case [*outlines] if outlines and all(_is_polygon(outline) for outline in outlines):
            return polygons.decode(polygons.merge(polygons.frPyObjects(outlines, height, width))).astype(bool)
        case {"counts": str(counts)}:
            return _decoded(entry, counts.encode())
        case {"counts": [*runs]} if all(isinstance(run, int) and run >= 0 for run in runs):
            return _decoded(entry, runs_to_counts(np.array(runs)))
        case _:
            raise DatasetError(
                f"{entry.place}: expected polygons [[x, y, x, y, x, y, ...], ...] or run lengths "
                f"{{counts, size}}, found {entry.segmentation!r:.80}"
            )


def _decoded(entry: Entry, counts: bytes) -> NDArray[np.bool_]:
    try:
        return decode_mask(counts, entry.size)
    except MaskInterchangeError as error:
        raise DatasetError(f"{entry.place}: {error}") from error


def _is_polygon(outline: object) -> bool:
    return (
        isinstance(outline, Sequence)
        and len(outline) >= 6
        and len(outline) % 2 == 0
        and all(isinstance(number, int | float) for number in outline)
    )
