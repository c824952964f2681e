"""Image files: colour frames and label images in, as numpy arrays."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.files import open_regular
from mask_interchange.rle import Size, check_size

# Modes that PIL turns into 8-bit RGB without losing the image; it would clip 16-bit and float pixels.
_COLOUR_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_STRIP = 2**18  # pixels of an image that are copied at a time
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image as RGB uint8 [H, W, 3], pixels as stored (no EXIF rotation)."""
    with open_image(path) as image:
        if image.mode not in _COLOUR_MODES:
            raise DatasetError(f"{path}: expected an image of 8 bits a channel, found mode {image.mode}; convert it")
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        for rows, part in _strips(image):
            pixels[rows] = np.asarray(part.convert("RGB"))
        return pixels


def read_label_image(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """Object labels uint8 [H, W] of a grey or palette image, and whether a palette gives them colours.

    Grey values are labels. Entries of a palette are labels too if it shows the background black and every object in a
    colour of its own, as DAVIS and YouTube-VOS do. A palette of black and white only is a grey picture in disguise:
    black is 0 and white is 1, whatever entries they have.

    Raises:
        DatasetError: the image cannot be read, holds colours instead of labels, or has another palette.
    """
    with open_image(path) as image:
        if image.mode not in {"1", "L", "P"}:
            raise DatasetError(
                f"{path}: expected an 8-bit grey or palette image of object labels, found mode {image.mode}"
            )
        values = np.empty((image.height, image.width), np.uint8)
        for rows, part in _strips(image):
            values[rows] = np.asarray(part)
        if image.mode != "P":
            return values, False
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        used = [label for label, pixels in enumerate(image.histogram()) if pixels]
    shown = {label: tuple(colours[label].tolist()) for label in used if label < len(colours)}
    found = [shown.get(label) for label in used]
    if set(found) <= {_BLACK, _WHITE} and len(set(found)) == min(2, len(found)):
        return np.array([shown.get(label) == _WHITE for label in range(256)], np.uint8)[values], False
    if all(shown.get(label) == (label, label, label) for label in used):
        return values, False
    objects = [colour for label, colour in shown.items() if label != 0]
    if shown.get(0, _BLACK) != _BLACK or _BLACK in objects or len(set(objects)) < len(objects):
        entries = ", ".join(f"{label}: {colour}" for label, colour in list(shown.items())[:6])
        raise DatasetError(
            f"{path}: expected a palette with a black background (entry 0) and a colour for each object, or one of "
            f"black and white only, found {entries}; "
            "save the labels as a grey image"
        )
    return values, True


def read_size(path: Path) -> Size:
    """(H, W) from an image's header."""
    with open_image(path) as image:
        return image.height, image.width


def read_orientation(path: Path) -> int:
    """The EXIF orientation in an image's header, 1 (upright) to 8; 1 where there is none."""
    with open_image(path) as image:
        exif = Image.Exif()
        with suppress(Exception):  # broken EXIF says nothing, as viewers take it
            exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Pieces of some rows; they bound the copies that PIL makes to convert an image or to hand over its pixels."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image file of bounded size; what goes wrong inside the block is a DatasetError about `path`."""
    try:
        with open_regular(path) as file, decode_image(file, path) as image:
            yield image
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such image file") from error
    except OSError as error:
        raise DatasetError(f"{path}: unreadable image: {error.strerror}; restore the file") from error


@contextmanager
def decode_image(file: BinaryIO, name: object, formats: tuple[str, ...] = ("JPEG", "PNG")) -> Iterator[Image.Image]:
    """An open image file of bounded size; what goes wrong inside the block is a DatasetError about `name`."""
    try:
        with Image.open(file, formats=formats) as image:
            check_size((image.height, image.width))
            yield image
    except UnidentifiedImageError as error:
        raise DatasetError(f"{name}: not a {' or '.join(formats)} image; restore the file") from error
    except DatasetError:
        raise
    except MaskInterchangeError as error:
        raise DatasetError(f"{name}: {error}") from error
    except Exception as error:  # PIL raises many types for a damaged file, IndexError and struct.error among them
        raise DatasetError(f"{name}: unreadable image: {error}; restore the file") from error
