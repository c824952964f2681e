"""Masks as folders of PNG images, both ways, without loss.

    FOLDER/Annotations/<video>/<expression>/<frame>.png   "grey": 0 and 255, the challenge's layout, overlaps allowed
    FOLDER/Annotations/<video>/<frame>.png                "palette": one image with a label per object, as DAVIS
    FOLDER/labels.json       palette only: {video: {label: expression id}}
    FOLDER/key_frame.json    {video: {expression id: {"index_info": {"class_index": frame number}}}}

Sizes, frame names, expression ids and key frames survive; a data set gives the expressions' texts back. Scores, support
and soft masks do not fit.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mask_interchange.dataset import Dataset
from mask_interchange.errors import DataNameError, DatasetError, MaskError, MaskInterchangeError
from mask_interchange.files import new_folder, write_whole
from mask_interchange.images import read_label_image
from mask_interchange.json_files import read_json
from mask_interchange.names import check_name, natural_key
from mask_interchange.rle import Size, empty_mask, encode_labels, unite_masks
from mask_interchange.run import MaskRun
from mask_interchange.track import Expression, MaskTrack, VideoMasks
from mask_interchange.video import Video

Layout = Literal["grey", "palette"]
LABELS = range(1, 255)  # 0 is background, 255 means "do not score" in DAVIS
_LABEL_NAMES = frozenset(map(str, LABELS))
_RESOLUTION = re.compile(r"[0-9]{3,4}p(_\w+)?|Full-Resolution")  # folders between DAVIS's `Annotations` and its videos
KeyFrames = Mapping[str, Mapping[str, int]]  # video -> expression id -> frame number


def find_annotations(folder: Path) -> Path:
    """The folder that holds a folder for each video: `folder`, its `Annotations/`, or below that DAVIS's `480p/`.

    Raises:
        DatasetError: there are folders of several resolutions.
    """
    root = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    below = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    if not below or not all(_RESOLUTION.fullmatch(path.name) for path in below):
        return root
    if len(below) > 1:
        names = ", ".join(sorted(path.name for path in below))
        raise DatasetError(f"{root}: holds masks of several resolutions ({names}); give the folder of one")
    return below[0]


def import_annotations(
    folder: Path | str, *, key_frames: Path | str | None = None, dataset: Dataset | None = None
) -> Iterator[VideoMasks]:
    """Read the masks of every video in a folder of PNG images, one video at a time, in natural order.

    Args:
        folder: as in `find_annotations`. Both layouts are recognised, video by video. In the
            grey layout a file has the values 0 and 255, or 0 and 1. In the palette layout the labels 1 to 254 are
            expression ids unless `labels.json` says otherwise; a video of grey 0/255 images has the one object "1".
        key_frames: `key_frame.json`; by default the one beside `Annotations/`, if there is one.
        dataset: gives the texts, groups and order of expressions, and the frames that there must be. Where its
            expressions have groups, labels that `labels.json` does not explain are objects, and an expression has the
            masks of those that it means. Of a data set without sentences every object is taken; frames without an
            image are empty, and the key frame is the first one that shows the object.

    Raises:
        DatasetError: an image is unreadable, in colours, or differs in size; frames differ between expressions or from
            the data set; a JSON file is not as described. Says which file.
    """
    folder = Path(folder)
    root = find_annotations(folder)
    if not root.is_dir():
        raise DatasetError(
            f"{folder}: expected a folder of PNG masks, found {'a file' if root.exists() else 'nothing'}"
        )
    beside = folder / "key_frame.json"
    chosen = Path(key_frames) if key_frames is not None else beside if beside.is_file() else None
    frames = read_key_frames(chosen) if chosen else {}
    labels = _read_labels_file(folder / "labels.json")
    videos = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=_natural)
    if not videos:
        raise DatasetError(f"{root}: expected <video>/<frame>.png or <video>/<expression>/<frame>.png, found no folder")
    for video in videos:
        try:
            yield _import_video(video, labels.get(video.name), frames.get(video.name, {}), dataset)
        except MaskInterchangeError as error:
            raise DatasetError(f"video {video.name!r}: {error}") from error


def _import_video(
    folder: Path, labels: Mapping[str, str] | None, key_frames: Mapping[str, int], dataset: Dataset | None
) -> VideoMasks:
    expressions = sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=_natural)
    images = _images(folder)
    if images and expressions:
        raise DatasetError(f"{folder}: expected either images or a folder per expression, found both")
    of_objects = None if dataset is None or dataset.has_sentences else dataset
    read = _read_palette(images, labels) if images else _read_grey(expressions, folder, is_partial=bool(of_objects))
    if of_objects:
        read = _in_all_frames(read, _described(folder.name, of_objects).frame_names)
        shown = {name: _first_shown(masks, read.size) for name, masks in read.masks.items()}
        key_frames = {name: frame for name, frame in shown.items() if frame is not None} | dict(key_frames)
    elif images and labels is None and dataset is not None:
        read = _by_expressions(read, _described(folder.name, dataset))
    known = _known_expressions(folder.name, read, None if of_objects else dataset)
    return VideoMasks(
        video=folder.name,
        size=read.size,
        frame_names=read.frame_names,
        tracks=tuple(
            MaskTrack(
                expression=expression,
                size=read.size,
                masks=read.masks[expression.id],
                key_frame=key_frames.get(expression.id),
            )
            for expression in known
        ),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What the images of a video say."""

    size: Size
    frame_names: tuple[str, ...]
    masks: dict[str, tuple[bytes, ...]]


def _described(video: str, dataset: Dataset) -> Video:
    if video not in dataset.videos:
        raise DatasetError(f"the data set {dataset.name} has no such video")
    return dataset.videos[video]


def _in_all_frames(read: _Read, names: tuple[str, ...]) -> _Read:
    """The same masks in all frames of a video; those without an image are empty."""
    if odd := [name for name in read.frame_names if name not in set(names)]:
        raise DatasetError(f"the data set has no frame {odd[0]!r} in this video")
    place, empty = {name: t for t, name in enumerate(read.frame_names)}, empty_mask(read.size)
    masks = {
        object_id: tuple(found[place[name]] if name in place else empty for name in names)
        for object_id, found in read.masks.items()
    }
    return _Read(read.size, names, masks)


def _by_expressions(read: _Read, video: Video) -> _Read:
    """The masks of labels, which are objects, for the expressions that mean them; unless no expression names any."""
    if all(expression.group is None for expression in video.expressions):
        return read
    nothing = (empty_mask(read.size),) * len(read.frame_names)
    masks = {}
    for expression in video.expressions:
        objects = [] if expression.group is None else expression.group.split("+")
        if odd := [name for name in objects if name not in _LABEL_NAMES]:
            raise DatasetError(f"expression {expression.id!r} means object {odd[0]!r}, which is no label from 1 to 254")
        tracks = [read.masks.get(name, nothing) for name in objects]
        masks[expression.id] = tuple(
            unite_masks(of_frame, read.size) for of_frame in zip(nothing, *tracks, strict=True)
        )
    return _Read(read.size, read.frame_names, masks)


def _first_shown(masks: Sequence[bytes], size: Size) -> int | None:
    """The first frame that shows an object."""
    return next((t for t, mask in enumerate(masks) if mask != empty_mask(size)), None)


def _known_expressions(video: str, read: _Read, dataset: Dataset | None) -> list[Expression]:
    if dataset is None:
        return [Expression(id=name) for name in read.masks]
    described = _described(video, dataset)
    if read.frame_names != described.frame_names:
        here, there = read.frame_names, described.frame_names
        what = _difference(here, "the masks", there, "the data set")
        raise DatasetError(f"expected the {len(there)} frames of the data set, found {len(here)}: {what}")
    expressions = [expression for expression in described.expressions if expression.id in read.masks]
    if unknown := read.masks.keys() - {expression.id for expression in expressions}:
        raise DatasetError(f"the data set has no expression {min(unknown)!r} in this video")
    return expressions


def _difference(here: Sequence[str], name: str, there: Sequence[str], other: str) -> str:
    """How the frames of two places with names differ."""
    only_one = set(here) ^ set(there)
    odd = next((frame for frame in [*here, *there] if frame in only_one), None)
    return f"frame {odd!r} is only in {name if odd in here else other}" if odd else "another order"


def _read_grey(folders: Sequence[Path], video: Path, *, is_partial: bool) -> _Read:
    """The masks of a folder for each expression; partial ones may be of other frames in each folder."""
    if not folders:
        raise DatasetError(f"{video}: expected PNG images or a folder per expression, found neither")
    size: Size | None = None
    found: dict[str, dict[str, bytes]] = {}
    for folder in folders:
        of_frame: dict[str, bytes] = {}
        for image in _images(folder):
            values, _ = read_label_image(image)
            size = _same_size(size, values, image)
            labels = encode_labels(values)
            if labels.keys() not in (set(), {1}, {255}):
                raise DatasetError(f"{image}: expected the values 0 and 255 only, found others; threshold it first")
            of_frame[image.stem] = next(iter(labels.values()), empty_mask(size))
        if not of_frame:
            raise DatasetError(f"{folder}: expected PNG images, found none")
        found[check_name("expression", folder.name)] = of_frame
    assert size is not None
    first, *others = found
    for name in () if is_partial else others:
        if [*found[name]] != [*found[first]]:
            what = _difference([*found[name]], repr(name), [*found[first]], repr(first))
            raise DatasetError(f"{video}: expected the same frames for every expression, found others: {what}")
    names = sorted({name for of_frame in found.values() for name in of_frame}, key=natural_key)
    masks = {name: tuple(of_frame.get(t, empty_mask(size)) for t in names) for name, of_frame in found.items()}
    return _Read(size, tuple(names), masks)


def _read_palette(images: Sequence[Path], names: Mapping[str, str] | None) -> _Read:
    size: Size | None = None
    found: dict[int, dict[int, bytes]] = {int(label): {} for label in names or ()}
    coloured = False
    for t, image in enumerate(images):
        values, has_palette = read_label_image(image)
        coloured |= has_palette
        size = _same_size(size, values, image)
        for label, counts in encode_labels(values).items():
            found.setdefault(label, {})[t] = counts
    assert size is not None
    if 255 in found:
        if coloured or len(found) > 1:
            raise DatasetError("label 255 means 'do not score'; a mask cannot say that. Replace it by 0")
        found = {1: found[255]}
    empty = empty_mask(size)
    masks = {}
    for label in sorted(found):
        if names is not None and str(label) not in names:
            raise DatasetError(f"labels.json has no label {label}")
        masks[names[str(label)] if names else str(label)] = tuple(
            found[label].get(t, empty) for t in range(len(images))
        )
    return _Read(size, tuple(image.stem for image in images), masks)


def _same_size(size: Size | None, values: NDArray[np.uint8], path: Path) -> Size:
    height, width = values.shape
    if size is not None and size != (height, width):
        raise DatasetError(f"{path}: expected {size[1]}x{size[0]} pixels as the images before, found {width}x{height}")
    return height, width


def _images(folder: Path) -> list[Path]:
    images = (p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith("."))
    return sorted(images, key=_natural)


def _natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    return natural_key(path.name)


def _read_labels_file(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    at, tree = read_json(path)
    labels: dict[str, dict[str, str]] = {}
    for video in at.typed(tree, dict):
        names = at.get(tree, video, dict)
        for label in names:
            try:
                check_name("expression", (at / video).get(names, label, str))
            except DataNameError as error:
                raise DatasetError(f"{at / video / label}: {error}") from error
            if label not in _LABEL_NAMES:
                raise DatasetError(f"{at / video}: expected labels from 1 to 254, found {label!r:.80}")
        labels[video] = names
    return labels


def read_key_frames(path: Path | str) -> dict[str, dict[str, int]]:
    """Frame numbers by video and expression id out of a `key_frame.json`.

    Raises:
        DatasetError: the file is not of that form; says where.
    """
    at, tree = read_json(Path(path))
    frames: dict[str, dict[str, int]] = {}
    for video in at.typed(tree, dict):
        expressions = at.get(tree, video, dict)
        frames[video] = {}
        for expression in expressions:
            place = at / video / expression
            info = place.get((at / video).get(expressions, expression, dict), "index_info", dict)
            frames[video][expression] = (place / "index_info").get(info, "class_index", int)
    return frames


def export_annotations(
    run: MaskRun, folder: Path | str, layout: Layout = "grey", videos: Iterable[str] | None = None
) -> None:
    """Write a run's masks as PNG images, so that `import_annotations` reads the same masks back.

    Args:
        run: where the masks are.
        folder: new or empty.
        layout: "grey" for any run; "palette" for expressions that never overlap.
        videos: only these; by default all that are finished.

    Raises:
        RunError: `folder` holds files already (old images beside new ones would be read as one set).
        MaskError: the palette layout cannot hold these masks; says where.
        OSError: as `new_folder`; on any error nothing is written.
    """
    with new_folder(Path(folder)) as unfinished:
        _write_annotations(run, unfinished, layout, run.videos() if videos is None else videos)


def _write_annotations(run: MaskRun, folder: Path, layout: Layout, videos: Iterable[str]) -> None:
    key_frames: dict[str, dict[str, object]] = {}
    labels: dict[str, dict[str, str]] = {}
    for video in videos:
        masks = run.read(video)
        target = folder / "Annotations" / video
        if layout == "grey":
            _write_grey(target, masks)
        else:
            labels[video] = _write_palette(target, masks)
        if keys := _key_frames(masks):
            key_frames[video] = keys
    if key_frames:
        write_whole(folder / "key_frame.json", json.dumps(key_frames).encode())
    if labels:
        write_whole(folder / "labels.json", json.dumps(labels).encode())


def _key_frames(masks: VideoMasks) -> dict[str, object]:
    return {
        track.expression.id: {"index_info": {"class_index": track.key_frame}}
        for track in masks.tracks
        if track.key_frame is not None
    }


def _write_grey(folder: Path, masks: VideoMasks) -> None:
    for track in masks.tracks:
        target = folder / track.expression.id
        target.mkdir(parents=True)
        for t, frame in enumerate(masks.frame_names):
            Image.fromarray(track.mask(t).astype(np.uint8) * 255).save(target / f"{frame}.png")


def _write_palette(folder: Path, masks: VideoMasks) -> dict[str, str]:
    """Write label images; returns which label stands for which expression."""
    labels = _labels(masks)
    folder.mkdir(parents=True)
    for t, frame in enumerate(masks.frame_names):
        values = np.zeros(masks.size, np.uint8)
        for label, track in zip(labels, masks.tracks, strict=True):
            mask = track.mask(t)
            if values[mask].any():
                raise MaskError(
                    f"video {masks.video!r}, frame {frame!r}: expression {track.expression.id!r} overlaps another; "
                    "a label image holds one object a pixel; export as grey (--format png)"
                )
            values[mask] = label
        image = Image.fromarray(values)
        image.putpalette(_PALETTE)
        image.save(folder / f"{frame}.png")
    return {str(label): track.expression.id for label, track in zip(labels, masks.tracks, strict=True)}


def _labels(masks: VideoMasks) -> list[int]:
    """The expression ids where all are labels, else 1, 2, ..."""
    ids = masks.expression_ids
    if _LABEL_NAMES.issuperset(ids):
        return [int(name) for name in ids]
    if len(ids) > len(LABELS):
        raise MaskError(f"video {masks.video!r}: a label image holds at most {len(LABELS)} objects, found {len(ids)}")
    return list(range(1, len(ids) + 1))


def _palette() -> bytes:
    """The colours of PASCAL VOC and DAVIS: the bits of a label, spread over red, green and blue from the top."""
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((np.arange(256) >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours.tobytes()


_PALETTE = _palette()
