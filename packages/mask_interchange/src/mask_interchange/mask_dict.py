"""Runs out of `mask_dict.json`, the masks of MeViS and ReVOS: `{anno_id: [run lengths or null, one a frame]}`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mask_interchange.dataset import Dataset
from mask_interchange.errors import DatasetError, MaskError
from mask_interchange.ground_truth import MaskList, mask_lists, names_itself
from mask_interchange.json_files import JsonPlace, errors_at, read_json
from mask_interchange.rle import Size, empty_mask, unite_masks
from mask_interchange.track import MaskTrack, VideoMasks
from mask_interchange.video import Video

MOST_MASKS = 2**22  # of a video: many expressions may share one list


def import_mask_dict(path: Path | str, dataset: Dataset) -> Iterator[VideoMasks]:
    """The masks of every expression of which the data set says, by `anno_id`, which masks it means.

    Several masks are united; an expression that means nothing has empty masks. Item t of a list belongs to frame t of
    the sorted names.

    Raises:
        DatasetError: the file is not of that form or does not fit the data set; says where.
    """
    at, tree = read_json(Path(path))
    if names_itself(tree):
        raise DatasetError(f"{at}: names its videos and tracks itself, as COCO and YouTube-VIS do; omit --dataset")
    lists = mask_lists(at, tree)
    targets = {} if dataset.truth is None else dataset.truth.targets
    if not any(targets.values()):
        raise DatasetError(f"{dataset.root}: expected expressions that name their masks by anno_id, found none")
    for name in dataset.videos:
        if meant := targets.get(name):
            with errors_at(at):
                made = _video(at, dataset.videos[name], meant, lists)
            yield made


def _video(
    at: JsonPlace, video: Video, meant: Mapping[str, tuple[str, ...]], lists: Mapping[str, MaskList]
) -> VideoMasks:
    expressions = [expression for expression in video.expressions if expression.id in meant]
    frames = len(video)
    if len(expressions) * frames > MOST_MASKS:
        raise MaskError(f"video {video.id!r}: expected at most {MOST_MASKS} masks, found {len(expressions)} x {frames}")
    found: dict[str, tuple[bytes | None, ...]] = {}
    size: Size | None = None
    for key in dict.fromkeys(key for expression in expressions for key in meant[expression.id]):
        if key not in lists:
            raise DatasetError(f"{at / key}: expected the masks of video {video.id!r}, found no such key")
        own, found[key] = lists[key].counts()
        if len(found[key]) != frames:
            raise DatasetError(f"{at / key}: expected {frames} masks, one a frame, found {len(found[key])}")
        if size is not None and own not in (None, size):
            raise DatasetError(f"{at / key}: expected the size {list(size)} of the masks before, found another")
        size = size or own
    size = size or video.size
    in_file = {name: t for t, name in enumerate(sorted(video.frame_names))}
    order = [in_file[name] for name in video.frame_names]
    tracks = tuple(
        MaskTrack(
            expression=expression,
            size=size,
            masks=tuple(_united([found[key][t] for key in meant[expression.id]], size) for t in order),
        )
        for expression in expressions
    )
    return VideoMasks(video=video.id, size=size, frame_names=video.frame_names, tracks=tracks)


def _united(masks: list[bytes | None], size: Size) -> bytes:
    there = [mask for mask in masks if mask is not None]
    return unite_masks(there, size) if there else empty_mask(size)
