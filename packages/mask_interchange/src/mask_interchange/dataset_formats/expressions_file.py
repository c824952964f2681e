"""`meta_expressions.json`, in all forms that are around.

    {"videos": {"v1": {"frames": ["00000"], "expressions": {"0": {"exp": "a dog", "obj_id": "1"}}}}}
    {"videos": {"v1": {"objects": {"1": {"frames": ["00000"], "expressions": ["a dog"]}}}}}

The first is that of Ref-YouTube-VOS since 2021. `obj_id` may be absent, a number, text, or a list of them; in MeViS and
ReVOS, `anno_id` names the masks in `mask_dict.json`. The second is the first form of Ref-YouTube-VOS, of 2020; its
expressions are numbered in their order, which gives the ids of the later form.

A name of a video may lead through folders (`UVO/all/v1` in ReVOS); such a video is called `UVO__all__v1` here.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.description import DescribedVideo, Description, FaultyVideo, Videos
from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.json_files import JsonPlace, read_json
from mask_interchange.names import check_name, natural_key

META = "meta_expressions"
MASKS = "mask_dict.json"


def read_expressions_file(file: Path, *image_folders: Path) -> Videos:
    """The videos of a file; their frames lie in `<image folder>/<video>/`.

    Raises:
        DatasetError: the file is not of this form. A faulty entry of one video is no error, but a `FaultyVideo`.
    """
    at, tree = read_json(file)
    videos: dict[str, DescribedVideo | FaultyVideo] = {}
    for path, entry in at.get(tree, "videos", dict).items():
        place, name = at / "videos" / path, path.replace("/", "__")
        if name in videos:
            raise DatasetError(f"{place}: expected every video id once, found {name!r} again")
        videos[name] = described(place, entry, partial(_video, path.split("/"), image_folders))
    return videos


def describe_beside(file: Path) -> Description:
    """What a file describes whose frames lie in `JPEGImages` beside it, and masks in `mask_dict.json` or `Annotations`.

    Raises:
        DatasetError: as `read_expressions_file`.
    """
    masks, folder = file.with_name(MASKS), file.with_name("Annotations")
    truth = masks if masks.is_file() else folder if folder.is_dir() else None
    return Description(videos=read_expressions_file(file, file.with_name("JPEGImages")), truth=truth)


def described(
    at: JsonPlace, entry: object, read: Callable[[JsonPlace, object], DescribedVideo]
) -> DescribedVideo | FaultyVideo:
    """What `read` makes of the entry that stands at a place, or its fault."""
    try:
        return read(at, entry)
    except DatasetError as error:
        return FaultyVideo(error, entry)
    except MaskInterchangeError as error:
        return FaultyVideo(DatasetError(f"{at}: {error}"), entry)


def _video(parts: Sequence[str], image_folders: Sequence[Path], at: JsonPlace, entry: object) -> DescribedVideo:
    folders = tuple(folder.joinpath(*(check_name("video", part) for part in parts)) for folder in image_folders)
    if "expressions" not in at.typed(entry, dict) and "objects" in at.typed(entry, dict):
        return _by_objects(at, entry, folders)
    names = at.get(entry, "frames", list)
    expressions = []
    targets: dict[str, tuple[str, ...]] = {}
    for number, expression in at.get(entry, "expressions", dict).items():
        place = at / "expressions" / number
        objects = _names(place, expression, "obj_id")
        masks = _names(place, expression, "anno_id")
        group = "+".join(objects) if objects else None
        expressions.append((check_name("expression", number), place.get(expression, "exp", str), group))
        meant = objects if masks is None else masks
        if meant is not None:
            targets[number] = meant
    return DescribedVideo(
        frame_names=tuple(check_name("frame", name) for name in names),
        expressions=tuple(expressions),
        folders=folders,
        targets=targets,
    )


def _by_objects(at: JsonPlace, entry: object, folders: tuple[Path, ...]) -> DescribedVideo:
    frames: set[str] = set()
    texts: list[tuple[str, str]] = []
    for identity, one in at.get(entry, "objects", dict).items():
        place = at / "objects" / identity
        frames.update(check_name("frame", name) for name in place.get(one, "frames", list))
        for text in place.get(one, "expressions", list):
            texts.append((check_name("object", identity), (place / "expressions").typed(text, str)))
    return DescribedVideo(
        frame_names=tuple(sorted(frames, key=natural_key)),
        expressions=tuple((str(number), text, identity) for number, (identity, text) in enumerate(texts)),
        folders=folders,
        targets={str(number): (identity,) for number, (identity, _) in enumerate(texts)},
    )


def _names(at: JsonPlace, expression: object, key: str) -> tuple[str, ...] | None:
    """The ids at a key as text; none for an empty list, None where the key is absent or null."""
    value = at.typed(expression, dict).get(key)
    if value is None:
        return None
    return tuple(_texts(at / key, value if isinstance(value, list) else [value]))


def _texts(at: JsonPlace, ids: list[object]) -> Iterator[str]:
    for one in ids:
        if not isinstance(one, int | str) or isinstance(one, bool):
            raise DatasetError(f"{at}: expected a number, text or a list of them, found {ids!r:.80}")
        yield str(one)
