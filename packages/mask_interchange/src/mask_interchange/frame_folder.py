"""Frames of a folder of images."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.faults import Fault, FaultKind
from mask_interchange.files import file_sha256
from mask_interchange.images import read_orientation, read_rgb, read_size
from mask_interchange.names import natural_key
from mask_interchange.rle import Size
from mask_interchange.track import check_unique

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class FrameFolder:
    """Frames as image files `<folder>/<name>.jpg` (or .jpeg, .png).

    Pixels are taken as stored: an EXIF orientation is not applied, as in the published programs.
    """

    def __init__(self, folder: Path, frame_names: tuple[str, ...]):
        self.frame_names = frame_names
        self._folder = folder

    @classmethod
    def of(cls, folder: Path) -> Self:
        """All images of a folder in natural order.

        Raises:
            DatasetError: there are none, or two that differ in the suffix only.
        """
        images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        names = sorted((p.stem for p in images), key=natural_key)
        if not names:
            raise DatasetError(f"{folder}: expected images ({', '.join(IMAGE_SUFFIXES)}), found none in the folder")
        try:
            check_unique("frame", tuple(names))
        except MaskInterchangeError as error:
            raise DatasetError(f"{folder}: {error}") from error
        return cls(folder, tuple(names))

    @cached_property
    def _files(self) -> dict[str, Path]:
        """Image files by stem; one listing serves all frames."""
        if not self._folder.is_dir():
            raise DatasetError(
                f"{self._folder}: expected a folder of frames, found {'a file' if self._folder.exists() else 'nothing'}"
            )
        images = (p for p in self._folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        return {p.stem: p for p in sorted(images, key=lambda p: IMAGE_SUFFIXES.index(p.suffix.lower()), reverse=True)}

    @property
    def files(self) -> tuple[Path, ...]:
        """The image files of all frames, in order.

        Raises:
            DatasetError: one is missing; says which.
        """
        return tuple(self._path(i) for i in range(len(self.frame_names)))

    @property
    def size(self) -> Size:
        """(H, W) of the first frame."""
        return self._first_size

    @cached_property
    def _first_size(self) -> Size:
        return self._header(0)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        frame = read_rgb(self._path(i))
        self._check_size(i, frame.shape[:2])
        return frame

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order."""
        return (self.read(i) for i in range(start, stop))

    def faults(self, *, decode: bool) -> Iterator[Fault]:
        """Every frame that is missing, unreadable or not of the first frame's size; or that there are none at all."""
        try:
            there = self._files.keys()
        except (DatasetError, OSError) as error:
            yield Fault(kind=FaultKind.NO_FRAMES, message=str(error))
            return
        expected: Size | None = None
        for i, name in enumerate(self.frame_names):
            try:
                size = read_rgb(self._path(i)).shape[:2] if decode else self._header(i)
            except DatasetError as error:
                kind = FaultKind.UNREADABLE if name in there else FaultKind.MISSING
                yield Fault(kind=kind, message=str(error), frame=name)
                continue
            expected = expected or size
            if size != expected:
                yield Fault(kind=FaultKind.SIZE, message=self._other_size(i, size, expected), frame=name)

    def notes(self) -> Iterator[str]:
        """Whether the first frame asks viewers to turn it."""
        if (orientation := read_orientation(self._path(0))) != 1:
            yield (
                f"{self._path(0)}: viewers turn it (EXIF orientation {orientation}); frames are taken as stored, "
                "and so are masks and overlays. Turn the files if that is wrong"
            )

    def fingerprint(self) -> str:
        """SHA-256 over the names and bytes of the files."""
        total = hashlib.sha256()
        for i, name in enumerate(self.frame_names):
            path = self._path(i)
            try:
                total.update(f"{name}\0{file_sha256(path)}\n".encode())
            except OSError as error:
                raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
        return total.hexdigest()

    def _path(self, i: int) -> Path:
        name = self.frame_names[i]
        if name not in self._files:
            raise DatasetError(
                f"frame {name!r} is missing: expected {self._folder / name}.jpg; restore it from the data set"
            )
        return self._files[name]

    def _header(self, i: int) -> Size:
        return read_size(self._path(i))

    def _check_size(self, i: int, size: tuple[int, ...]) -> None:
        if size != self.size:
            raise DatasetError(self._other_size(i, size, self.size))

    def _other_size(self, i: int, size: tuple[int, ...], expected: tuple[int, ...]) -> str:
        return (
            f"{self._path(i)}: expected {expected[1]}x{expected[0]} pixels as frame {self.frame_names[0]!r}, "
            f"found {size[1]}x{size[0]} in frame {self.frame_names[i]!r}; all frames of a video must have one size"
        )
