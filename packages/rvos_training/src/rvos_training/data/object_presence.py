"""Ground truth masks of Ref-YouTube-VOS, indexed PNG files with a label for each object, and the frames that show it.

    <annotations>/<video>/<frame>.png       0 background, other labels are object ids

To know which clips show an object, every file is read once. The result is kept in a JSON file in the training's folder.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, DatasetError, Expression, Video
from mask_interchange.files import write_whole
from mask_interchange.images import read_label_image
from numpy.typing import NDArray
from program_kit.progress import ProgressCallback

from rvos_training.errors import TrainingError

Presence = Mapping[str, Mapping[str, frozenset[int]]]  # video id -> object label -> frame indices
THREADS = 8


def read_labels(annotations: Path, video: Video, frame: int) -> NDArray[np.uint8]:
    """Object labels [H, W] of one frame.

    Raises:
        DatasetError: the file is missing, is not a label image, or has another size than the video.
    """
    path = annotations / video.id / f"{video.frame_names[frame]}.png"
    labels, _ = read_label_image(path)
    if labels.shape != video.size:
        raise DatasetError(
            f"{path}: expected {video.size[1]}x{video.size[0]} pixels as in the video's frames, "
            f"found {labels.shape[1]}x{labels.shape[0]}"
        )
    return labels


def labels_of(expression: Expression, video: str) -> tuple[str, ...]:
    """Labels of the objects that an expression refers to.

    Raises:
        TrainingError: the data set does not tell.
    """
    labels = tuple((expression.group or "").split("+"))
    if not all(label.isdecimal() for label in labels):
        raise TrainingError(
            f"video {video!r}, expression {expression.id!r}: expected an obj_id in meta_expressions.json, the label of "
            f"its object in the annotations, found {expression.group!r}; training needs the train split's file"
        )
    return labels


def object_presence(
    dataset: Dataset, annotations: Path, cache: Path, progress: ProgressCallback = lambda done, total: None
) -> Presence:
    """The frames of every video that show each of its objects.

    Args:
        dataset: the videos.
        annotations: folder of `<video>/<frame>.png`.
        cache: JSON file; read where it belongs to this data set, otherwise written.
        progress: gets the number of videos read, and of all.

    Raises:
        DatasetError: an annotation is missing or unreadable; says which.
    """
    if (known := _read(cache, dataset.fingerprint)) is not None:
        return known
    found: dict[str, dict[str, frozenset[int]]] = {}
    with ThreadPoolExecutor(THREADS) as threads:
        videos = threads.map(lambda video: _of_video(annotations, dataset.videos[video]), dataset.videos)
        for done, (video, presence) in enumerate(zip(dataset.videos, videos, strict=True), start=1):
            found[video] = presence
            progress(done, len(dataset.videos))
    content = {video: {label: sorted(frames) for label, frames in one.items()} for video, one in found.items()}
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache, json.dumps({"fingerprint": dataset.fingerprint, "videos": content}).encode())
    return found


def _of_video(annotations: Path, video: Video) -> dict[str, frozenset[int]]:
    seen: dict[str, set[int]] = {}
    for frame in range(len(video)):
        for label in np.flatnonzero(np.bincount(read_labels(annotations, video, frame).ravel())):
            if label:
                seen.setdefault(str(label), set()).add(frame)
    return {label: frozenset(frames) for label, frames in seen.items()}


def _read(cache: Path, fingerprint: str) -> Presence | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["fingerprint"] != fingerprint:
            return None
        return {
            video: {label: frozenset(frames) for label, frames in one.items()}
            for video, one in content["videos"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no cache, or not one of ours
