"""Image files: colour frames in, as numpy arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.files import open_regular
from mask_interchange.rle import Size, check_size

# Modes that PIL turns into 8-bit RGB without losing the image; it would clip 16-bit and float pixels.
_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image as RGB uint8 [H, W, 3], pixels as stored (no EXIF rotation)."""
    with open_image(path) as image:
        if image.mode not in _COLOUR_MODES:
            raise DatasetError(f"{path}: expected an image of 8 bits a channel, found mode {image.mode}; convert it")
        return np.array(image.convert("RGB"))


def read_size(path: Path) -> Size:
    """(H, W) from an image's header."""
    with open_image(path) as image:
        return image.height, image.width


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image file of bounded size; what goes wrong inside the block is a DatasetError about `path`."""
    try:
        with open_regular(path) as file, Image.open(file, formats=("JPEG", "PNG")) as image:
            check_size((image.height, image.width))
            yield image
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such image file") from error
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path}: not a JPEG or PNG image; restore the file") from error
    except MaskInterchangeError as error:
        raise error if isinstance(error, DatasetError) else DatasetError(f"{path}: {error}") from error
    except Exception as error:  # PIL raises many types for a damaged file, IndexError and struct.error among them
        raise DatasetError(f"{path}: unreadable image: {error}; restore the file") from error
