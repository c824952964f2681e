"""YouTube-VIS, and UNINEXT's JSON files of the same form.

    <split>/instances.json, <split>.json, annotations/instances_<split>.json or instances_<split>.json
    <split>/JPEGImages/<video>/<frame>.jpg

Every track (`annotations`) becomes an expression whose text is the track's category. Files of UNINEXT (`valid.json`,
`valid_0.json`) have sentences instead: a video has an entry for each of them, or one entry with all of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from mask_interchange.dataset_formats.description import DatasetFormat, DescribedVideo, Description, FaultyVideo
from mask_interchange.errors import DatasetError
from mask_interchange.json_files import JsonPlace, errors_at, read_json
from mask_interchange.names import check_name

SPLITS = ("train", "valid", "val", "test")


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    files = {file.parent.name: file for file in root.glob("*/instances.json")}
    for split in SPLITS:
        for file in (*root.glob(f"{split}.json"), *root.glob(f"{split}_[0-9].json")):
            files[file.stem] = file
        for file in (*root.glob(f"instances_{split}*.json"), *root.glob(f"annotations/instances_{split}*.json")):
            files[file.stem.removeprefix("instances_")] = file
    return {split: partial(describe_tracks, file) for split, file in sorted(files.items())}


@dataclass(slots=True)
class _Gathered:
    """What the entries of one video say, while they are read."""

    frame_names: tuple[str, ...]
    folders: tuple[Path, ...]
    expressions: list[tuple[str, str, str | None]] = field(default_factory=list)
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fault: DatasetError | None = None


def describe_tracks(file: Path) -> Description:
    """What a JSON file of this form describes; its frames are looked for near it.

    Raises:
        DatasetError: the file is not of the form described above.
    """
    at, tree = read_json(file)
    videos: dict[str, _Gathered] = {}
    names: dict[int, str] = {}
    for number, entry in enumerate(at.get(tree, "videos", list)):
        place = at / "videos" / str(number)
        with errors_at(place):
            name, frames = _frames(place, entry)
            names[place.get(entry, "id", int)] = name
            video = videos.setdefault(name, _Gathered(frames, _folders(file, name)))
            try:
                _add_sentences(place, entry, frames, video)
            except DatasetError as error:
                video.fault = video.fault or error
    has_tracks = bool(at.optional(tree, "annotations", list))
    for place, track in _tracks(at, tree) if has_tracks else ():
        _add_track(place, track, names, videos, _categories(at, tree))
    return Description(
        videos={
            name: FaultyVideo(video.fault, str(video.fault))
            if video.fault
            else DescribedVideo(
                frame_names=video.frame_names,
                expressions=tuple(video.expressions),
                folders=video.folders,
                targets=video.targets,
            )
            for name, video in videos.items()
        },
        truth=file if has_tracks else None,
    )


def _frames(at: JsonPlace, entry: object) -> tuple[str, tuple[str, ...]]:
    """The folder of a video's frames, which is its name, and their names."""
    files = [PurePosixPath((at / "file_names").typed(one, str)) for one in at.get(entry, "file_names", list)]
    folders = {path.parent.name for path in files}
    if len(folders) != 1:
        raise DatasetError(f"{at / 'file_names'}: expected <video>/<frame>.jpg of one video, found {len(folders)}")
    return folders.pop(), tuple(check_name("frame", path.stem) for path in files)


def _folders(file: Path, video: str) -> tuple[Path, ...]:
    """Where the frames of a video may lie: in `JPEGImages` beside the file, or of any split beside it or above it."""
    roots = (file.parent, file.parent.parent)
    images = [file.parent / "JPEGImages", *(folder for root in roots for folder in sorted(root.glob("*/JPEGImages")))]
    return tuple(folder / video for folder in images)


def _add_sentences(at: JsonPlace, entry: object, frames: tuple[str, ...], video: _Gathered) -> None:
    if frames != video.frame_names:
        raise DatasetError(f"{at}: lists other frames than the entries before it of this video")
    sentences = at.optional(entry, "expressions", list) or []
    if len(sentences) == 1 and isinstance(sentences[0], list):  # UNINEXT's files of Ref-DAVIS17
        sentences = sentences[0]
    group = at.optional(entry, "obj_id", str)
    for number, sentence in enumerate(sentences):
        key = at.optional(entry, "exp_id", str) if len(sentences) == 1 else None
        key = check_name("expression", str(number) if key is None else key)
        video.expressions.append((key, (at / "expressions").typed(sentence, str), group))
        if group is not None:
            video.targets[key] = (group,)


def _tracks(at: JsonPlace, tree: object) -> Iterator[tuple[JsonPlace, object]]:
    for number, track in enumerate(at.get(tree, "annotations", list)):
        yield at / "annotations" / str(number), track


def _categories(at: JsonPlace, tree: object) -> dict[int, str]:
    places = ((at / "categories" / str(k), one) for k, one in enumerate(at.get(tree, "categories", list)))
    return {place.get(one, "id", int): place.get(one, "name", str) for place, one in places}


def _add_track(
    at: JsonPlace, track: object, names: Mapping[int, str], videos: Mapping[str, _Gathered], categories: dict[int, str]
) -> None:
    video, category = at.get(track, "video_id", int), at.get(track, "category_id", int)
    if video not in names or category not in categories:
        what = f"video_id {video}" if video not in names else f"category_id {category}"
        raise DatasetError(f"{at}: expected a video and a category of this file, found {what}")
    key = str(at.get(track, "id", int))
    videos[names[video]].expressions.append((key, categories[category], key))
    videos[names[video]].targets[key] = (key,)


FORMAT = DatasetFormat(
    name="YouTube-VIS",
    files="<split>/instances.json, <split>.json or annotations/instances_<split>.json",
    splits=_splits,
    has_sentences=False,
)
