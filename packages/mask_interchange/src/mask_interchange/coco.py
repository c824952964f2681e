"""Runs as COCO JSON and back: an annotation for every frame in which an expression has a mask.

    {"images": [{"id": 1, "file_name": "dog/00000.jpg", "width": 854, "height": 480, "video_id": 1, "frame_id": 0}],
     "videos": [{"id": 1, "name": "dog"}],
     "categories": [{"id": 1, "name": "the brown dog", "supercategory": "object"}],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [3.0, 4.0, 20.0, 10.0],
                      "area": 150, "segmentation": {"size": [480, 854], "counts": "..."}, "score": 0.9,
                      "video_id": 1, "track_id": 1,
                      "attributes": {"expression_id": "0", "group": "2", "track_id": 1, "keyframe": true}}]}

Tools that look at images take it as it is. `video_id`, `frame_id` and `track_id` say which frame of which video this is
and of which track; the attributes `track_id` and `keyframe` make CVAT join masks to tracks. Expressions without any
mask, scores of frames without a mask and key frames do not fit; `youtube_vis` keeps them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as coco

from mask_interchange.categories import Categories, read_categories
from mask_interchange.errors import DatasetError, MaskError
from mask_interchange.files import replace_whole
from mask_interchange.json_files import JsonPlace, errors_at, read_json, write_lists
from mask_interchange.names import check_name, natural_key
from mask_interchange.polygons import coco_polygons
from mask_interchange.rle import Size, check_size, empty_mask, unite_masks
from mask_interchange.run import MaskRun
from mask_interchange.segmentations import coco_segmentations
from mask_interchange.track import Expression, MaskTrack, VideoMasks
from mask_interchange.youtube_vis import SUFFIX, import_results, import_youtube_vis, read_id

MOST_MASKS = 2**22  # of a video, empty ones included, which take no room in the file

Entry = dict[str, object]


def export_coco(run: MaskRun, path: Path | str, videos: Iterable[str] | None = None) -> None:
    """Write a run's masks in the form above, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    images: list[Entry] = []
    described: list[Entry] = []
    categories = Categories()

    def annotations() -> Iterator[Entry]:
        number, tracks = 0, 0
        for masks in map(run.read, run.videos() if videos is None else videos):
            described.append({"id": len(described) + 1, "name": masks.video})
            before = len(images)
            images.extend(_images(before, len(described), masks))
            for track in masks.tracks:
                tracks += 1
                for entry in _annotations(track, before, {"video_id": len(described), "track_id": tracks}):
                    number += 1
                    yield {"id": number, "category_id": categories.number(track.expression), **entry}

    def others() -> Iterator[tuple[str, list[Entry]]]:
        yield from (("images", images), ("videos", described), ("categories", categories.entries()))

    replace_whole(Path(path), lambda file: write_lists(file, "annotations", annotations(), others()))


def _images(before: int, video: int, masks: VideoMasks) -> Iterator[Entry]:
    height, width = masks.size
    for t, frame in enumerate(masks.frame_names):
        shown = {"file_name": f"{masks.video}/{frame}{SUFFIX}", "width": width, "height": height}
        yield {"id": before + t + 1, **shown, "video_id": video, "frame_id": t}


def _annotations(track: MaskTrack, before: int, ids: Entry) -> Iterator[Entry]:
    """One for each mask that is not empty."""
    group = {} if track.expression.group is None else {"group": track.expression.group}
    attributes = {"expression_id": track.expression.id, **group, "track_id": ids["track_id"], "keyframe": True}
    for t, counts in enumerate(track.masks):
        runs: Any = {"size": list(track.size), "counts": counts}
        if area := int(coco.area(runs)):
            yield {
                "image_id": before + t + 1,
                "iscrowd": 0,
                "bbox": coco.toBbox(runs).tolist(),
                "area": area,
                "segmentation": {**runs, "counts": counts.decode()},
                **({} if track.scores is None else {"score": float(track.scores[t])}),
                **ids,
                "attributes": attributes,
            }


def import_coco(path: Path | str) -> Iterator[VideoMasks]:
    """Read masks out of JSON of the COCO family, video by video.

    Args:
        path: a COCO object with `images` and `annotations`; one of YouTube-VIS with `videos` and `annotations`; or a
            list of YouTube-VIS results. In a COCO object, images of one `video_id`, else of one folder, are the frames
            of a video. An annotation belongs to the track that `expression_id` of its attributes, `instance_id`,
            `track_id` (of its attributes, too) or, without these, its category says; several of a track in one image
            are united. Run lengths and polygons are taken.

    Raises:
        DatasetError: the file has none of these forms; says where.
    """
    at, tree = read_json(Path(path))
    if isinstance(tree, list):
        yield from import_results(at, tree)
        return
    described = at.typed(tree, dict)
    if "images" in described:
        yield from _import_images(at, described)
    elif "videos" in described:
        yield from import_youtube_vis(at, described)
    else:
        raise DatasetError(f"{at}: expected `images` (COCO) or `videos` (YouTube-VIS), found neither")


@dataclass(frozen=True, slots=True)
class _Image:
    id: int
    video: str
    frame: str
    size: Size
    number: int | None  # of the frame


def _import_images(at: JsonPlace, tree: Mapping[str, object]) -> Iterator[VideoMasks]:
    texts = read_categories(at, tree)
    names = _video_names(at, tree)
    images: dict[int, _Image] = {}
    for i, entry in enumerate(at.get(tree, "images", list)):
        with errors_at(at / f"images[{i}]") as place:
            image = _image(place, entry, names)
            if image.id in images:
                raise DatasetError(f"{place}: expected a new id, found {image.id} again")
            images[image.id] = image
    entries = at.get(tree, "annotations", list)
    frames_of: dict[str, list[_Image]] = {}
    for image in images.values():
        frames_of.setdefault(image.video, []).append(image)
    marked_in: dict[str, dict[int, object]] = {video: {} for video in frames_of}
    for i, entry in enumerate(entries):
        place = at / f"annotations[{i}]"
        image = images.get(place.get(entry, "image_id", int))
        if image is None:
            raise DatasetError(f"{place}: expected the id of one of the images, found another image_id")
        marked_in[image.video][i] = entry
    for video, frames in frames_of.items():
        with errors_at(at):
            frames = _in_order(frames)
            position = {image.id: t for t, image in enumerate(frames)}
            tracks = _tracks(at, marked_in[video], position, frames[0].size, texts)
            frame_names = tuple(image.frame for image in frames)
            made = VideoMasks(video=video, size=frames[0].size, frame_names=frame_names, tracks=tracks)
        yield made


def _video_names(at: JsonPlace, tree: Mapping[str, object]) -> dict[int, str]:
    names: dict[int, str] = {}
    for i, video in enumerate(at.optional(tree, "videos", list) or ()):
        place = at / f"videos[{i}]"
        names[place.get(video, "id", int)] = place.get(video, "name", str)
    return names


def _image(at: JsonPlace, entry: object, videos: Mapping[int, str]) -> _Image:
    file = PurePosixPath(at.get(entry, "file_name", str).replace("\\", "/"))
    number = at.optional(entry, "video_id", int)
    folder = file.parent.name or at.file.stem
    return _Image(
        id=at.get(entry, "id", int),
        video=check_name("video", folder if number is None else videos.get(number, folder)),
        frame=file.stem,
        size=check_size((at.get(entry, "height", int), at.get(entry, "width", int))),
        number=at.optional(entry, "frame_id", int),
    )


def _in_order(frames: list[_Image]) -> list[_Image]:
    """The frames of a video, which must have one size, by `frame_id`, else by name."""
    odd = next((image for image in frames if image.size != frames[0].size), None)
    if odd is not None:
        (height, width), (other_height, other_width) = frames[0].size, odd.size
        raise DatasetError(
            f"video {odd.video!r}: expected {width}x{height} pixels as in frame {frames[0].frame!r}, "
            f"found {other_width}x{other_height} in frame {odd.frame!r}"
        )
    if all(image.number is not None for image in frames):
        return sorted(frames, key=lambda image: image.number or 0)
    return sorted(frames, key=lambda image: natural_key(image.frame))


def _tracks(
    at: JsonPlace, entries: Mapping[int, object], position: Mapping[int, int], size: Size, texts: Mapping[int, str]
) -> tuple[MaskTrack, ...]:
    """The tracks of a video out of its annotations; `position` is the frame number of each image's id."""
    expressions: dict[str, Expression] = {}
    found: dict[str, dict[int, list[bytes]]] = {}
    for i, entry in entries.items():
        with errors_at(at / f"annotations[{i}]") as place:
            expression = _expression(place, entry, texts)
            if expressions.setdefault(expression.id, expression) != expression:
                raise DatasetError(f"{place}: expected the category and group of track {expression.id!r} before")
            frame = position[place.get(entry, "image_id", int)]
            found.setdefault(expression.id, {}).setdefault(frame, []).append(_mask(place, entry, size))
    if len(found) * len(position) > MOST_MASKS:
        raise MaskError(f"expected at most {MOST_MASKS} masks, found {len(found)} tracks of {len(position)} frames")
    empty = empty_mask(size)
    return tuple(
        MaskTrack(
            expression=expressions[name],
            size=size,
            masks=tuple(unite_masks(masks[t], size) if t in masks else empty for t in range(len(position))),
        )
        for name, masks in found.items()
    )


def _expression(at: JsonPlace, entry: object, texts: Mapping[int, str]) -> Expression:
    attributes = at.optional(entry, "attributes", dict) or {}
    category = at.optional(entry, "category_id", int)
    text = None if category is None else texts.get(category)
    group = at.optional(attributes, "group", str)
    if "expression_id" in attributes:
        name = read_id(at / "attributes", attributes, "expression_id")
        return Expression(id=name, text=None if text == name else text, group=group)
    tracks = {**attributes, **at.typed(entry, dict)}
    key = next(
        (key for key in ("instance_id", "track_id", "category_id") if tracks.get(key) is not None), "category_id"
    )
    return Expression(id=read_id(at, tracks, key), text=text, group=group)


def _mask(at: JsonPlace, entry: object, size: Size) -> bytes:
    place, segmentation = at / "segmentation", at.typed(entry, dict).get("segmentation")
    if isinstance(segmentation, list):
        return coco_polygons(place, segmentation, size)
    found, (counts,) = coco_segmentations(place, [segmentation])
    if counts is None:
        raise DatasetError(f"{place}: expected run lengths or polygons, found neither")
    if found != size:
        raise DatasetError(f"{place}: expected the size {list(size)} of the image, found {list(found or ())}")
    return counts
