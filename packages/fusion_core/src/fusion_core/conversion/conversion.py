"""What all conversions share: their form, what they count, and how they write."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mask_interchange import DatasetError
from mask_interchange.files import file_sha256, write_whole
from PIL import Image
from program_kit.progress import ProgressCallback


@dataclass(slots=True, kw_only=True)
class Converted:
    """What a conversion read and wrote.

    Attributes:
        sources: SHA-256 of the files with texts and masks, by path in the source.
        videos: or images.
        expressions: sentences.
        masks: of a sentence on a frame.
        nothing: sentences that mean nothing.
        notes: what was left out, and why.
    """

    sources: dict[str, str] = field(default_factory=dict)
    videos: int = 0
    expressions: int = 0
    masks: int = 0
    nothing: int = 0
    notes: list[str] = field(default_factory=list)

    def read_from(self, root: Path, file: Path) -> None:
        """Note a file that was read. Raises DatasetError if it cannot be."""
        try:
            self.sources[file.relative_to(root).as_posix()] = file_sha256(file)
        except OSError as error:
            raise DatasetError(f"{file}: cannot be read: {error.strerror}") from error

    def write(self, folder: Path) -> None:
        """Write `conversion.json`."""
        write_whole(folder / "conversion.json", (json.dumps(asdict(self), indent=1) + "\n").encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user wants converted.

    Attributes:
        root: of the data set as it was downloaded; nothing in it is changed.
        images: folder of the images, for sets that come without.
        partition: whose division into splits, where there are several.
        samples: file that names the frames to keep, for JHMDB-Sentences.
    """

    root: Path
    images: Path | None = None
    partition: str | None = None
    samples: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One data set that programs cannot read where it lies.

    Attributes:
        name: of the data set.
        files: by which it is recognised, for messages.
        recognises: whether a folder holds it; looks at names of files only.
        convert: writes it into an empty folder. Raises DatasetError.
    """

    name: str
    files: str
    recognises: Callable[[Path], bool]
    convert: Callable[[Request, Path, ProgressCallback], Converted]


def place_file(source: Path, target: Path) -> None:
    """A hard link where the disk allows it, else a copy. Raises DatasetError if the source is missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise DatasetError(f"{source}: no such file; restore it from the data set")
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_mask(mask: np.ndarray, target: Path) -> None:
    """A mask bool [H, W] as an 8-bit grey PNG, 0 and 255."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(target)


def write_json(tree: object, target: Path) -> None:
    """JSON, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(tree).encode())
