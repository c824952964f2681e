"""COCO run lengths in JSON: `{"size": [H, W], "counts": text or list}`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError, MaskError
from mask_interchange.json_files import JsonPlace, errors_at
from mask_interchange.rle import Size, check_size, counts_to_runs, runs_to_counts


def coco_segmentations(at: JsonPlace, segmentations: Sequence[object]) -> tuple[Size | None, tuple[bytes | None, ...]]:
    """The masks of one object, which stand at `at`: one entry a frame, null where nothing is there.

    Returns:
        (H, W), None if all entries are null; the compressed counts of every frame, None where nothing is there.

    Raises:
        DatasetError: an entry is no run lengths, does not fill its size, or has another size than those before it.
    """
    size: Size | None = None
    found: list[bytes | None] = []
    for t, segmentation in enumerate(segmentations):
        place = JsonPlace(at.file, f"{at.keys}[{t}]")
        if segmentation is None:
            found.append(None)
            continue
        with errors_at(place):
            own = _size(place, segmentation)
            if size not in (None, own):
                raise DatasetError(f"{place}: expected the size {list(size)} of the frames before, found another")
            size = own
            found.append(_counts(place, segmentation, size))
    return size, tuple(found)


def _size(at: JsonPlace, segmentation: object) -> Size:
    size = at.get(segmentation, "size", list)
    if not all(isinstance(side, int) for side in size):
        raise DatasetError(f"{at}: expected [height, width], found {size!r:.80}")
    return check_size(tuple(size))


def _counts(at: JsonPlace, segmentation: object, size: Size) -> bytes:
    counts = at.typed(segmentation, dict).get("counts")
    with errors_at(at / "counts"):
        if isinstance(counts, str):
            runs = counts_to_runs(counts.encode())
        else:
            runs = _whole_numbers(at.get(segmentation, "counts", list))
    pixels = size[0] * size[1]
    # Every length is bounded before they are summed: a sum of huge ones may wrap around and look right.
    if runs.min(initial=0) < 0 or runs.max(initial=0) > pixels or runs.sum() != pixels:
        raise DatasetError(f"{at}.counts: expected run lengths that fill {size[0]}x{size[1]} pixels, found others")
    return runs_to_counts(_without_empty_runs(runs))


def _whole_numbers(values: list[object]) -> NDArray[np.int64]:
    """Numbers of a JSON list as int64 [R]; numpy alone would also take text and cut off fractions."""
    odd = next((value for value in values if type(value) is not int), None)
    if odd is not None:
        raise MaskError(f"expected whole numbers, found {odd!r:.80}")
    try:
        return np.array(values, np.int64)
    except OverflowError as error:
        raise MaskError("expected whole numbers of at most 64 bits, found a larger one") from error


def _without_empty_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The one spelling that this package knows: others may write empty runs, also after the first."""
    kept = np.flatnonzero(runs)
    first = np.flatnonzero(np.diff(kept % 2, prepend=-1))  # neighbours of one colour become one run
    joined = np.add.reduceat(runs[kept], first)
    return joined if kept[0] % 2 == 0 else np.concatenate(([0], joined))
