"""Small frames and masks, for a page that holds hundreds of videos.

Letters: T masks of H x W pixels, reduced to h x w; R run lengths of all of them.
"""

import base64
import io

import numpy as np
import numpy.typing as npt
from mask_interchange.rle import RunLengths, Size
from PIL import Image

QUALITY = 55  # of WebP, 0 to 100


def small_size(size: Size, longest: int) -> Size:
    """(h, w) with a longer side of at most `longest` pixels and the same shape, as far as whole pixels allow."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def small_frame(frame: npt.NDArray[np.uint8], size: Size) -> str:
    """A frame RGB uint8 [H, W, 3] as a WebP picture of `size`, in base64."""
    picture = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    return base64.b64encode(file.getvalue()).decode()


def small_masks(runs: RunLengths, size: Size, small: Size) -> RunLengths:
    """Masks of `size` reduced to the size `small`; each pixel is the one in the middle of what it covers.

    No mask is decoded. Pixel k of a side of the small mask is the pixel in the middle of what it covers on the large
    side. So where the large mask changes after p pixels, the small one changes after as many pixels as there are
    middles among the first p.
    """
    height, width = size
    rows, columns = _middles_before(height, small[0]), _middles_before(width, small[1])
    counts = np.diff(runs.starts)
    mask = np.repeat(np.arange(len(runs)), counts)
    ends = np.cumsum(runs.lengths) - mask * height * width
    column, row = np.divmod(ends, height)
    column_is_kept = np.diff(columns, append=columns[-1])  # a change within a column that is left out moves to its end
    ends = columns[column] * small[0] + column_is_kept[column] * rows[row]
    return _between(mask, ends, len(runs), small[0] * small[1])


def _middles_before(side: int, small: int) -> npt.NDArray[np.int64]:
    """For p = 0..side, how many of the `small` middles are among the first p pixels."""
    middles = (2 * np.arange(small) + 1) * side // (2 * small)
    return np.searchsorted(middles, np.arange(side + 1), side="left")


def _between(mask: npt.NDArray[np.int64], changes: npt.NDArray[np.int64], masks: int, pixels: int) -> RunLengths:
    """Run lengths of masks that change at these positions; two changes at one position cancel out."""
    inside = changes < pixels
    line, times = np.unique(mask[inside] * pixels + changes[inside], return_counts=True)
    line = line[times % 2 == 1]
    firsts = np.arange(masks) * pixels
    at = np.searchsorted(line, firsts)
    # Every mask: its start, its changes, and the start of the next as its end.
    bounds = np.insert(line, at, firsts)
    lengths = np.diff(bounds, append=masks * pixels)
    starts = np.concatenate((at + np.arange(masks), [len(lengths)]))
    return RunLengths(lengths, starts)
