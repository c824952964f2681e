"""Ground truth, video by video.

    DIR/<video>/<frame>.png             label images: 0 background, 1..254 objects, 255 void (DAVIS, YouTube-VOS)
    DIR/<video>/<name>/<frame>.png      a folder for each expression or each object: every non-zero pixel is its mask
    FILE.json                           run lengths by name (MeViS, ReVOS, YouTube-VIS)

A label image has a palette or is 8-bit grey. In a grey image with 0 and 255 only, 255 is an object and not void: if the
first image of a video with any label is such an image, the video is read as one object with label 1.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import Dataset, DatasetError, Size, decode_mask, natural_key
from mask_interchange.ground_truth import MaskList, mask_lists, names_itself
from mask_interchange.images import read_label_image
from mask_interchange.json_files import read_json
from mask_interchange.png_folders import find_annotations

from rvos_evaluation.errors import EvaluationError

__all__ = ["VideoAnnotation", "open_annotations", "open_truth"]

Labels = npt.NDArray[np.uint8]

VOID = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFrame:
    """One annotated frame: its name and a label image, uint8 [H, W] (0 background, 255 void, else object labels)."""

    name: str
    labels: Labels


class VideoAnnotation(Protocol):
    """The ground truth of one video."""

    @property
    def video(self) -> str:
        """Its name."""
        ...

    @property
    def place(self) -> Path:
        """The folder or file that holds it, for messages."""
        ...

    def frames(self, names: tuple[str, ...] | None = None) -> Iterator[LabelFrame]:
        """Annotated frames in natural order.

        Args:
            names: of masks whose union is asked for (labels 0 and 1); None for label images of all objects.

        Raises:
            EvaluationError: nothing is annotated, or it cannot be read; says what and where.
        """
        ...

    def frame_names(self, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Names of the annotated frames, without reading them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelImages:
    """`place/<frame>.png`, label images of all objects."""

    video: str
    place: Path

    def frames(self, names: tuple[str, ...] | None = None) -> Iterator[LabelFrame]:
        """As `VideoAnnotation.frames`; images of different sizes or in colours are errors too."""
        one_object = None
        for name, path, labels, has_palette in _read_all(self.video, self.place):
            if names is not None:
                labels = np.isin(labels, [int(name) for name in names]).astype(np.uint8)
            elif labels.any():
                if one_object is None:
                    one_object = not has_palette and _is_black_and_white(labels)
                if one_object:
                    labels = self._one_object(labels, path)
            yield LabelFrame(name=name, labels=labels)

    def frame_names(self, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """As `VideoAnnotation.frame_names`."""
        return tuple(path.stem for path in _images(self.place))

    def object_labels(self) -> frozenset[int]:
        """Labels of all objects in the images; reads them all."""
        return frozenset().union(*(objects_in(frame.labels) for frame in self.frames()))

    def _one_object(self, labels: Labels, path: Path) -> Labels:
        if not _is_black_and_white(labels):
            raise EvaluationError(
                f"video {self.video}, frame {path.stem}: earlier frames are grey 0/255 images of one object, this "
                f"one has the labels {np.unique(labels)[:8].tolist()}; save all frames of a video alike ({path})"
            )
        return (labels != 0).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFolders:
    """`place/<name>/<frame>.png`, a mask of each expression or of each object.

    Attributes:
        folders: their names in natural order.
    """

    video: str
    place: Path
    folders: tuple[str, ...]

    def frames(self, names: tuple[str, ...] | None = None) -> Iterator[LabelFrame]:
        """As `VideoAnnotation.frames`; every pixel that is not zero belongs to the mask."""
        readers = {name: _read_all(self.video, self.place / name) for name in names or ()}
        upcoming = {name: next(reader, None) for name, reader in readers.items()}
        for frame in self.frame_names(names):
            union: Labels | None = None
            for name, found in upcoming.items():
                if found is None or found[0] != frame:
                    continue
                labels = (found[2] != 0).astype(np.uint8)
                if union is not None and union.shape != labels.shape:
                    raise EvaluationError(f"video {self.video}, frame {frame}: {found[1]} has another size than others")
                union = labels if union is None else union | labels
                upcoming[name] = next(readers[name], None)
            assert union is not None  # a frame is in the list because a folder has it
            yield LabelFrame(name=frame, labels=union)

    def frame_names(self, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """As `VideoAnnotation.frame_names`: of any of the masks."""
        found = {path.stem for name in names or () for path in _images(self.place / name)}
        return tuple(sorted(found, key=natural_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskLists:
    """Run lengths of every frame, by name.

    Attributes:
        lists: those of the video.
        all_frames: names of the video's frames; item t of a list belongs to item t of the sorted names.
    """

    video: str
    place: Path
    lists: Mapping[str, MaskList]
    all_frames: tuple[str, ...]

    def frames(self, names: tuple[str, ...] | None = None) -> Iterator[LabelFrame]:
        """As `VideoAnnotation.frames`; a frame without run lengths shows nothing."""
        size: Size | None = None
        read: list[tuple[bytes | None, ...]] = []
        for name in names or ():
            try:
                found, counts = self.lists[name].counts()
            except DatasetError as error:
                raise EvaluationError(f"video {self.video}: {error}") from error
            if len(counts) != len(self.all_frames) or (None not in (size, found) and size != found):
                raise EvaluationError(
                    f"video {self.video}: expected masks of {len(self.all_frames)} frames, of one size, in "
                    f"{self.place}, found {len(counts)} of {found} in {name!r}"
                )
            size = size or found
            read.append(counts)
        if size is None:  # which size nothing has, the prediction knows
            return
        for t, frame in enumerate(sorted(self.all_frames)):
            union = np.zeros(size, np.uint8)
            for counts in read:
                if (mask := counts[t]) is not None:
                    union |= decode_mask(mask, size).view(np.uint8)
            yield LabelFrame(name=frame, labels=union)

    def frame_names(self, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """As `VideoAnnotation.frame_names`: all."""
        return tuple(sorted(self.all_frames))


def open_annotations(path: Path | str, dataset: Dataset | None = None) -> dict[str, VideoAnnotation]:
    """Every annotated video of a folder or a JSON file, by name in natural order.

    Args:
        path: a folder, which `png_folders.find_annotations` looks through, or a file for `ground_truth.mask_lists`.
        dataset: says which masks of a JSON file belong to which video.

    Raises:
        EvaluationError: the folder does not exist, has no annotated video, or one video mixes both layouts; or a file
            describes videos itself and is not the data set's.
        DatasetError: the file is not of the form, or a video of the data set is faulty.
    """
    path = Path(path)
    if path.is_file():
        return _open_lists(path, dataset)
    if not path.is_dir():
        raise EvaluationError(f"{path} is not a folder; --annotations is the folder that holds <video>/*.png")
    try:
        folder = find_annotations(path)
    except DatasetError as error:
        raise EvaluationError(str(error)) from error
    found: dict[str, VideoAnnotation] = {}
    for one in sorted(folder.iterdir(), key=lambda one: natural_key(one.name)):
        if one.is_dir() and not one.name.startswith(".") and (annotation := _open_video(one)) is not None:
            found[one.name] = annotation
    if not found:
        raise EvaluationError(f"{folder} holds neither <video>/<frame>.png nor <video>/<name>/<frame>.png")
    return found


def open_truth(dataset: Dataset) -> dict[str, VideoAnnotation]:
    """The masks that a data set brings. Raises as `open_annotations`, or EvaluationError if it brings none."""
    if dataset.truth is None:
        raise EvaluationError(f"{dataset.root}: has no masks of {dataset.split or 'its videos'}; give --annotations")
    return open_annotations(dataset.truth.path, dataset)


def _open_lists(path: Path, dataset: Dataset | None) -> dict[str, VideoAnnotation]:
    if dataset is None or dataset.truth is None:
        raise EvaluationError(f"{path}: masks of a JSON file need the data set that names them; give --dataset")
    at, tree = read_json(path)
    if names_itself(tree) and not path.samefile(dataset.truth.path):
        raise EvaluationError(
            f"{path}: numbers its tracks itself, so its masks belong to the data set that it describes, and no other; "
            "give it as --dataset, or the masks as PNG files"
        )
    lists = mask_lists(at, tree)
    found: dict[str, VideoAnnotation] = {}
    for video, targets in dataset.truth.targets.items():
        names = sorted({name for of_expression in targets.values() for name in of_expression})
        if absent := [name for name in names if name not in lists]:
            raise EvaluationError(f"video {video}: the data set names masks {absent[:5]}, which {path} does not have")
        if targets:
            frames = dataset.videos[video].frame_names
            found[video] = MaskLists(
                video=video, place=path, lists={name: lists[name] for name in names}, all_frames=frames
            )
    if not found:
        raise EvaluationError(f"{path}: the data set {dataset.name} says of no expression which masks it means")
    return found


def objects_in(labels: Labels) -> frozenset[int]:
    """Object labels of one label image, without void and background."""
    pixels = cv2.calcHist([labels], [0], None, [VOID + 1], [0, VOID + 1])  # ten times as fast as numpy's bincount
    return frozenset(np.flatnonzero(pixels).tolist()) - {0, VOID}


def _open_video(folder: Path) -> VideoAnnotation | None:
    images = bool(_images(folder))
    expressions = sorted((path.name for path in folder.iterdir() if path.is_dir() and _images(path)), key=natural_key)
    if images and expressions:
        raise EvaluationError(
            f"video {folder.name}: {folder} holds PNG files and folders of PNG files ({', '.join(expressions[:3])}); "
            "annotations are either label images or folders of masks"
        )
    if images:
        return LabelImages(video=folder.name, place=folder)
    return MaskFolders(video=folder.name, place=folder, folders=tuple(expressions)) if expressions else None


def _images(folder: Path) -> list[Path]:
    """PNG files in natural order, without hidden files such as the `._*` copies of macOS."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith("."))
    return sorted(files, key=lambda path: natural_key(path.stem))


def _read_all(video: str, folder: Path) -> Iterator[tuple[str, Path, Labels, bool]]:
    """Frame, file, labels and whether they have a palette, of every image of a folder in natural order."""
    files = _images(folder)
    if not files:
        raise EvaluationError(f"video {video}: no PNG file in {folder}")
    size = None
    for path in files:
        labels, has_palette = _read_labels(path, video)
        size = size or labels.shape
        if labels.shape != size:
            raise EvaluationError(
                f"video {video}, frame {path.stem}: the annotation is {labels.shape[0]}x{labels.shape[1]}, "
                f"but {files[0].name} is {size[0]}x{size[1]} (height x width); check {path}"
            )
        yield path.stem, path, labels, has_palette


def _read_labels(path: Path, video: str) -> tuple[Labels, bool]:
    """The label image of one file, and whether it has a palette of object colours."""
    try:
        return read_label_image(path)
    except DatasetError as error:
        raise EvaluationError(f"video {video}, frame {path.stem}: {error}") from error


def _is_black_and_white(labels: Labels) -> bool:
    return np.count_nonzero(labels == VOID) == np.count_nonzero(labels)
