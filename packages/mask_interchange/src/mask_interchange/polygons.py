"""Masks that are drawn as polygons, as COCO has them: `[[x1, y1, x2, y2, ...], ...]`, in pixels."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco

from mask_interchange.errors import DatasetError
from mask_interchange.json_files import JsonPlace
from mask_interchange.rle import Size


def coco_polygons(at: JsonPlace, polygons: Sequence[object], size: Size) -> bytes:
    """Compressed counts of what the polygons cover together.

    Raises:
        DatasetError: there is none, one has fewer than three corners or a corner far outside the image, or they are
            longer than any outline of a mask of `size`, so that drawing them would take without bound.
    """
    if not polygons:
        raise DatasetError(f"{at}: expected polygons or run lengths, found an empty list")
    corners = [_corners(JsonPlace(at.file, f"{at.keys}[{i}]"), one, size) for i, one in enumerate(polygons)]
    length = sum(float(np.abs(np.diff(one, axis=0, append=one[:1])).max(axis=1).sum()) for one in corners)
    most = size[0] * size[1] + 4 * sum(size)
    if length > most:
        raise DatasetError(f"{at}: expected polygons of at most {most} pixels of outline, found {length:.0f}")
    drawn = coco.frPyObjects([one.ravel().tolist() for one in corners], *size)
    counts = coco.merge(drawn)["counts"]
    assert isinstance(counts, bytes)
    return counts


def _corners(at: JsonPlace, polygon: object, size: Size) -> np.ndarray:
    numbers = at.typed(polygon, list)
    if len(numbers) < 6 or len(numbers) % 2 or not all(type(number) in (int, float) for number in numbers):
        raise DatasetError(f"{at}: expected x and y of at least three corners, found {numbers!r:.80}")
    corners = np.array(numbers, np.float64).reshape(-1, 2)
    sides = np.array(size[::-1])
    if not (np.isfinite(corners).all() and (corners >= -sides).all() and (corners <= 2 * sides).all()):
        raise DatasetError(f"{at}: expected corners in {size[1]}x{size[0]} pixels, found {numbers!r:.80}")
    return corners
