"""Runs as YouTube-VIS JSON and back: a track of masks for every expression, as video instance segmentation has them.

    {"videos": [{"id": 1, "name": "dog", "width": 854, "height": 480, "length": 2,
                 "file_names": ["dog/00000.jpg", "dog/00001.jpg"]}],
     "categories": [{"id": 1, "name": "the brown dog", "supercategory": "object"}],
     "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0, "width": 854, "height": 480,
                      "segmentations": [{"size": [480, 854], "counts": "..."}, null],
                      "bboxes": [[3.0, 4.0, 20.0, 10.0], null], "areas": [150, null], "score": 0.5,
                      "expression_id": "0", "expression": "the brown dog", "group": "2",
                      "scores": [0.9, 0.1], "key_frame": 0}]}

The last five keys of an annotation are ours: with them a run survives but for support and soft masks, and other tools
skip them. Results of trackers, a list of annotations without `videos`, are read too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco

from mask_interchange.categories import Categories, read_categories
from mask_interchange.errors import DatasetError
from mask_interchange.files import replace_whole
from mask_interchange.json_files import JsonPlace, errors_at, write_lists
from mask_interchange.names import check_name
from mask_interchange.rle import Size, check_size, empty_mask
from mask_interchange.run import MaskRun
from mask_interchange.segmentations import coco_segmentations
from mask_interchange.track import Expression, MaskTrack, VideoMasks

SUFFIX = ".jpg"  # of frames; a run does not know it


def export_youtube_vis(run: MaskRun, path: Path | str, videos: Iterable[str] | None = None) -> None:
    """Write a run's tracks in the form above, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    described: list[dict[str, object]] = []
    categories = Categories()

    def annotations() -> Iterator[dict[str, object]]:
        number = 0
        for masks in map(run.read, run.videos() if videos is None else videos):
            described.append(_described(len(described) + 1, masks))
            for track in masks.tracks:
                number += 1
                ids = {"id": number, "video_id": len(described), "category_id": categories.number(track.expression)}
                yield {**ids, **_track_entry(track)}

    def others() -> Iterator[tuple[str, list[dict[str, object]]]]:
        yield from (("videos", described), ("categories", categories.entries()))

    replace_whole(Path(path), lambda file: write_lists(file, "annotations", annotations(), others()))


def _described(number: int, masks: VideoMasks) -> dict[str, object]:
    return {
        "id": number,
        "name": masks.video,
        "width": masks.size[1],
        "height": masks.size[0],
        "length": len(masks.frame_names),
        "file_names": [f"{masks.video}/{frame}{SUFFIX}" for frame in masks.frame_names],
    }


def _track_entry(track: MaskTrack) -> dict[str, object]:
    runs: Any = [{"size": list(track.size), "counts": counts} for counts in track.masks]
    areas = np.asarray(coco.area(runs)).tolist()
    boxes = np.asarray(coco.toBbox(runs)).tolist()
    scores = None if track.scores is None else track.scores.tolist()
    return {
        "iscrowd": 0,
        "width": track.size[1],
        "height": track.size[0],
        "segmentations": [
            {"size": list(track.size), "counts": counts.decode()} if area else None
            for counts, area in zip(track.masks, areas, strict=True)
        ],
        "bboxes": [box if area else None for box, area in zip(boxes, areas, strict=True)],
        "areas": [area or None for area in areas],
        "score": None if scores is None else sum(scores) / len(scores),
        "expression_id": track.expression.id,
        "expression": track.expression.text,
        "group": track.expression.group,
        "scores": scores,
        "key_frame": track.key_frame,
    }


def import_youtube_vis(at: JsonPlace, tree: Mapping[str, object]) -> Iterator[VideoMasks]:
    """The masks of a file in the form above, video by video.

    A track's id is its `expression_id`, else the annotation's `id`; its text is `expression`, else the category.

    Raises:
        DatasetError: the file is not of that form; says where.
    """
    texts = read_categories(at, tree)
    entries = at.get(tree, "annotations", list)
    of_video: dict[int, list[int]] = {}
    for i, entry in enumerate(entries):
        of_video.setdefault((at / f"annotations[{i}]").get(entry, "video_id", int), []).append(i)
    for number, video in enumerate(at.get(tree, "videos", list)):
        with errors_at(at / f"videos[{number}]") as place:
            name, frame_names = _named(place, video)
            size = check_size((place.get(video, "height", int), place.get(video, "width", int)))
            tracks = []
            for i in of_video.pop(place.get(video, "id", int), ()):
                with errors_at(at / f"annotations[{i}]") as here:
                    text = _text(here, entries[i], texts)
                    key = "expression_id" if "expression_id" in entries[i] else "id"
                    expression = _expression(here, entries[i], read_id(here, entries[i], key), text)
                    tracks.append(_track(here, entries[i], expression, size, len(frame_names)))
            made = VideoMasks(video=name, size=size, frame_names=frame_names, tracks=tuple(tracks))
        yield made
    if of_video:
        i = min(map(min, of_video.values()))
        raise DatasetError(f"{at / f'annotations[{i}]'}: expected the id of one of the videos, found another video_id")


def _named(at: JsonPlace, video: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """The id of a video and its frames: `name`, else the folder of its first frame, else its number."""
    files = [PurePosixPath(at.typed(file, str)) for file in at.get(video, "file_names", list)]
    folder = files[0].parent.name if files else ""
    name = at.optional(video, "name", str) or folder or str(at.get(video, "id", int))
    return name, tuple(file.stem for file in files)


def _text(at: JsonPlace, entry: Mapping[str, object], texts: Mapping[int, str]) -> str | None:
    if "expression" in entry:
        return at.optional(entry, "expression", str)
    category = at.optional(entry, "category_id", int)
    return None if category is None else texts.get(category)


def import_results(at: JsonPlace, results: Sequence[object]) -> Iterator[VideoMasks]:
    """The masks of results of trackers, video by video in the order of the list.

    `video_id` (text or number) and `segmentations` must be there. Without `expression_id` the tracks of a video are
    numbered from 0; without `file_names` its frames are called 00000, 00001, ...

    Raises:
        DatasetError: the list is not of that form; says where.
    """
    of_video: dict[str, list[int]] = {}
    for i, result in enumerate(results):
        with errors_at(at / f"[{i}]") as place:
            of_video.setdefault(read_id(place, result, "video_id"), []).append(i)
    for video, numbers in of_video.items():
        tracks: list[MaskTrack] = []
        frame_names: tuple[str, ...] = ()
        for i in numbers:
            with errors_at(at / f"[{i}]") as place:
                result = place.typed(results[i], dict)
                segmentations = place.get(result, "segmentations", list)
                names = place.optional(result, "file_names", list) or [f"{t:05d}" for t in range(len(segmentations))]
                if i != numbers[0] and tuple(names) != frame_names:
                    raise DatasetError(f"{place}: expected the frames of the video's first entry, found others")
                frame_names = tuple(names)
                name = read_id(place, result, "expression_id") if "expression_id" in result else str(len(tracks))
                expression = _expression(place, result, name, place.optional(result, "expression", str))
                tracks.append(_track(place, result, expression, None, len(segmentations)))
        with errors_at(at / f"[{numbers[0]}]"):
            made = VideoMasks(video=video, size=tracks[0].size, frame_names=frame_names, tracks=tuple(tracks))
        yield made


def read_id(at: JsonPlace, entry: object, key: str) -> str:
    """An id as text; other tools number what they name. Raises DatasetError or DataNameError."""
    value = at.typed(entry, dict).get(key)
    return check_name(key.removesuffix("_id"), str(value) if type(value) is int else at.get(entry, key, str))


def _expression(at: JsonPlace, entry: object, name: str, text: str | None) -> Expression:
    return Expression(id=name, text=text, group=at.optional(entry, "group", str))


def _track(at: JsonPlace, entry: object, expression: Expression, size: Size | None, frames: int) -> MaskTrack:
    segmentations = at.get(entry, "segmentations", list)
    if len(segmentations) != frames:
        raise DatasetError(f"{at}: expected {frames} segmentations, one a frame, found {len(segmentations)}")
    found, masks = coco_segmentations(at / "segmentations", segmentations)
    size = size or found
    if size is None:
        raise DatasetError(f"{at}: expected a segmentation that tells the size, found none")
    if found not in (None, size):
        raise DatasetError(f"{at}: expected masks of {size[1]}x{size[0]} pixels, found {found[1]}x{found[0]}")
    return MaskTrack(
        expression=expression,
        size=size,
        masks=tuple(empty_mask(size) if mask is None else mask for mask in masks),
        scores=at.optional(entry, "scores", list),  # pyright: ignore[reportArgumentType] - checked by the record
        key_frame=at.optional(entry, "key_frame", int),
    )
