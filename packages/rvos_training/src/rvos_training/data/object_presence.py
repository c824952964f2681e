"""Ground truth masks of Ref-YouTube-VOS, indexed PNG files with a label for each object, and the frames that show it.

    <annotations>/<video>/<frame>.png       0 background, other labels are object ids

To know which clips show an object, every file is read once (`data_check`).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mask_interchange import DatasetError, Expression, Video
from mask_interchange.images import read_label_image
from numpy.typing import NDArray

from rvos_training.errors import TrainingError

Presence = Mapping[str, Mapping[str, frozenset[int]]]  # video id -> object label -> frame indices


def annotation_file(annotations: Path, video: Video, frame: int) -> Path:
    """The file of the labels of one frame."""
    return annotations / video.id / f"{video.frame_names[frame]}.png"


def read_labels(annotations: Path, video: Video, frame: int) -> NDArray[np.uint8]:
    """Object labels [H, W] of one frame.

    Raises:
        DatasetError: the file is missing, is not a label image, or has another size than the video.
    """
    path = annotation_file(annotations, video, frame)
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
