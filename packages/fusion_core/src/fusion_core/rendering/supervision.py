"""YOLO and Pascal VOC files of a run, written by the library supervision.

Both have outlines in place of masks: parts of an object that do not touch become objects of their own, holes are joined
to the outline by a seam, and edges move by up to a pixel.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import supervision as sv
from mask_interchange import MaskRun, VideoMasks

from fusion_core.rendering.clip import shown_text

IMAGES = "images"  # the frames, beside what is written here
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_yolo(run: MaskRun, folder: Path, videos: Sequence[str]) -> None:
    """Write `labels/<video>/<frame>.txt` and `data.yaml` beside the images, as Ultralytics reads them.

    Raises:
        OSError: they cannot be written.
    """
    classes: list[str] = []
    for video, dataset in _frames(run, folder.parent, videos, classes, beyond=1):
        dataset.as_yolo(annotations_directory_path=str(folder / video))
    description = folder.with_name("data.yaml")
    sv.DetectionDataset(classes, [], {}).as_yolo(data_yaml_path=str(description))
    with open(description, "a", encoding="utf-8") as file:
        file.write(f"train: {IMAGES}\nval: {IMAGES}\n")


def write_pascal(run: MaskRun, folder: Path, videos: Sequence[str]) -> None:
    """Write `pascal/<video>/<frame>.xml`, about the images beside `pascal`.

    Raises:
        OSError: they cannot be written.
    """
    for video, dataset in _frames(run, folder.parent, videos, [], beyond=0):
        dataset.as_pascal_voc(annotations_directory_path=str(folder / video))


def _frames(
    run: MaskRun, out: Path, videos: Sequence[str], classes: list[str], *, beyond: int
) -> Iterator[tuple[str, sv.DetectionDataset]]:
    """A data set of each frame, by its video; `classes` gets the texts of all expressions.

    Boxes end `beyond` pixels after their last pixel: 0 in Pascal VOC, which names that pixel, else 1.
    """
    for video in videos:
        masks = run.read(video)
        numbers = [_number(classes, _NOT_IN_XML.sub("\ufffd", shown_text(track))) for track in masks.tracks]
        for t, frame in enumerate(masks.frame_names):
            image = str(out / IMAGES / video / f"{frame}.jpg")
            yield video, sv.DetectionDataset(list(classes), [image], {image: _detections(masks, numbers, t, beyond)})


def _number(classes: list[str], name: str) -> int:
    if name not in classes:
        classes.append(name)
    return classes.index(name)


def _detections(masks: VideoMasks, numbers: Sequence[int], t: int, beyond: int) -> sv.Detections:
    found = [
        (number, mask) for number, track in zip(numbers, masks.tracks, strict=True) if (mask := track.mask(t)).any()
    ]
    if not found:
        return sv.Detections.empty()
    stack = np.stack([mask for _, mask in found])
    boxes = np.add(sv.mask_to_xyxy(stack), [0, 0, beyond, beyond]).astype(np.float32)
    return sv.Detections(xyxy=boxes, mask=stack, class_id=np.array([number for number, _ in found]))
