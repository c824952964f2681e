"""Data sets, read where they lie as they were downloaded: a module for each, and the table of all.

description         what files say of a data set, and the form of a format
expressions_file    `meta_expressions.json`, which most of them have

To add one, write a module with a `FORMAT` and name it in `FORMATS`.
"""

from collections.abc import Callable
from pathlib import Path

from mask_interchange.dataset_formats import (
    davis,
    long_rvos,
    mevis,
    mose,
    ref_davis17,
    ref_youtube_vos,
    revos,
    youtube_vis,
)
from mask_interchange.dataset_formats.description import DatasetFormat, Description
from mask_interchange.dataset_formats.expressions_file import describe_beside
from mask_interchange.errors import DatasetError
from mask_interchange.json_files import read_json

# In this order: the first that finds its files takes the folder.
FORMATS = (
    mevis.FORMAT,
    ref_youtube_vos.FORMAT,
    long_rvos.FORMAT,
    revos.FORMAT,
    ref_davis17.FORMAT,
    davis.FORMAT,
    youtube_vis.FORMAT,
    mose.SA_V,
    mose.MOSE,
)


def find_split(root: Path, split: str | None) -> tuple[DatasetFormat, str | None, Callable[[], Description]]:
    """The format of the data set in a folder, the split that is meant, and its reader.

    Raises:
        DatasetError: no data set that is known here, or no such split; lists what there is.
    """
    for one in FORMATS:
        if splits := one.splits(root):
            chosen = _choose(root, split, [name for name in splits if name is not None])
            return one, chosen, splits[chosen]
    known = ", ".join(f"{one.name} ({one.files})" for one in FORMATS)
    raise DatasetError(f"{root}: expected the files of a data set, found none of {known}")


def _choose(root: Path, split: str | None, names: list[str]) -> str | None:
    if not names:
        if split is not None:
            raise DatasetError(f"{root}: has no splits (its description stands at the top); omit --split")
        return None
    if split is None and len(names) > 1:
        raise DatasetError(f"{root}: has several splits; choose one with --split: {', '.join(names)}")
    chosen = split or names[0]
    if chosen not in names:
        raise DatasetError(f"{root}: no split {chosen!r}, only {', '.join(names)}")
    return chosen


def describe_file(file: Path) -> Description:
    """What a JSON file describes, whatever its name is.

    Raises:
        DatasetError: it is no description of videos.
    """
    at, tree = read_json(file)
    is_list = isinstance(at.typed(tree, dict).get("videos"), list)
    return youtube_vis.describe_tracks(file) if is_list else describe_beside(file)
