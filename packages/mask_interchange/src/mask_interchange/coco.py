"""Runs as COCO JSON and back: a list of tracks in the manner of YouTube-VIS results.

Scores survive here, unlike in folders of PNG images; support and soft masks do not.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from mask_interchange.errors import DatasetError
from mask_interchange.files import write_whole
from mask_interchange.json_files import JsonPlace, errors_at, read_json
from mask_interchange.names import check_name
from mask_interchange.rle import empty_mask
from mask_interchange.run import MaskRun
from mask_interchange.segmentations import coco_segmentations
from mask_interchange.track import Expression, MaskTrack, VideoMasks


def coco_results(run: MaskRun, videos: Iterable[str] | None = None) -> Iterator[dict[str, object]]:
    """A run's tracks as JSON objects in the manner of YouTube-VIS results.

    Each has `video_id`, `expression_id`, `expression` and `group` (text or null), `file_names` (frames), `score` (the
    mean, or null), `scores` (per frame, or null), `key_frame` (or null) and `segmentations`: per frame
    `{"size": [H, W], "counts": compressed run lengths}`.
    """
    for video in run.videos() if videos is None else videos:
        masks = run.read(video)
        for track in masks.tracks:
            scores = None if track.scores is None else track.scores.tolist()
            yield {
                "video_id": video,
                "expression_id": track.expression.id,
                "expression": track.expression.text,
                "group": track.expression.group,
                "file_names": list(masks.frame_names),
                "score": None if scores is None else sum(scores) / len(scores),
                "scores": scores,
                "key_frame": track.key_frame,
                "segmentations": [{"size": list(track.size), "counts": counts.decode()} for counts in track.masks],
            }


def export_coco(run: MaskRun, path: Path | str, videos: Iterable[str] | None = None) -> None:
    """Write `coco_results` as one JSON list, whole or not at all."""
    lines = (json.dumps(result) for result in coco_results(run, videos))
    write_whole(Path(path), ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def import_coco(path: Path | str) -> Iterator[VideoMasks]:
    """Read masks out of a JSON list as `coco_results` makes it, video by video in the order of the list.

    `video_id` and `expression_id` (text or number) and `segmentations` must be there; without `file_names` frames are
    called 00000, 00001, ... A segmentation may be null (nothing there) and its counts a list of run lengths.

    Raises:
        DatasetError: the file is not of that form; says where.
    """
    at, tree = read_json(Path(path))
    results = at.typed(tree, list)
    videos: dict[str, list[int]] = {}
    for i, result in enumerate(results):
        with errors_at(at / f"[{i}]") as place:
            videos.setdefault(_coco_id(place, result, "video_id"), []).append(i)
    for video, numbers in videos.items():
        tracks: dict[int, MaskTrack] = {}
        frame_names: tuple[str, ...] = ()
        for i in numbers:
            with errors_at(at / f"[{i}]") as place:
                tracks[i], names = _coco_track(place, results[i])
                if i != numbers[0] and names != frame_names:
                    raise DatasetError(f"{place}: expected the frames of the video's first entry, found others")
                frame_names = names
        with errors_at(at / f"[{numbers[0]}]"):
            masks = tuple(tracks.values())
            made = VideoMasks(video=video, size=masks[0].size, frame_names=frame_names, tracks=masks)
        yield made


def _coco_track(at: JsonPlace, result: object) -> tuple[MaskTrack, tuple[str, ...]]:
    segmentations = at.get(result, "segmentations", list)
    names = at.optional(result, "file_names", list) or [f"{i:05d}" for i in range(len(segmentations))]
    size, counts = coco_segmentations(at / "segmentations", segmentations)
    if size is None:
        raise DatasetError(f"{at}: expected a segmentation that tells the size, found none")
    track = MaskTrack(
        expression=Expression(
            id=_coco_id(at, result, "expression_id"),
            text=at.optional(result, "expression", str),
            group=at.optional(result, "group", str),
        ),
        size=size,
        masks=tuple(empty_mask(size) if mask is None else mask for mask in counts),
        scores=at.optional(result, "scores", list),  # pyright: ignore[reportArgumentType] - checked by the record
        key_frame=at.optional(result, "key_frame", int),
    )
    return track, tuple(names)


def _coco_id(at: JsonPlace, result: object, key: str) -> str:
    """An id as text; other tools number their videos."""
    value = at.typed(result, dict).get(key)
    return check_name(key.removesuffix("_id"), str(value) if type(value) is int else at.get(result, key, str))
