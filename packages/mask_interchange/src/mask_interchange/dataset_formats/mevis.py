"""MeViS, versions 1 and 2.

    <split>/JPEGImages/<video>/<frame>.jpg
    <split>/meta_expressions.json                   version 1
    <split>/meta_expressions_v2.json                version 2; meta_expressions_v2_release.json in `valid`
    <split>/mask_dict.json                          masks; item t of a list belongs to frame t of the sorted names

An expression may mean several objects, and in version 2 none. The folder of a split can also be opened by itself.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.description import DatasetFormat, Description
from mask_interchange.dataset_formats.expressions_file import MASKS, META, describe_beside
from mask_interchange.errors import DatasetError

VERSION_2 = (f"{META}_v2.json", f"{META}_v2_release.json")
OWN_SPLIT = "valid_u"  # no other data set has it


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    if files := _descriptions(root):
        return {None: partial(_read, files)} if _is_mevis(root, files) else {}
    splits = {folder: files for folder in sorted(root.iterdir()) if (files := _descriptions(folder))}
    if not any(_is_mevis(folder, files) for folder, files in splits.items()):
        return {}
    return {folder.name: partial(_read, files) for folder, files in splits.items()}


def _descriptions(folder: Path) -> list[Path]:
    return [file for name in (f"{META}.json", *VERSION_2) if (file := folder / name).is_file()]


def _is_mevis(folder: Path, files: list[Path]) -> bool:
    return folder.name == OWN_SPLIT or (folder / MASKS).is_file() or any(file.name in VERSION_2 for file in files)


def _read(files: list[Path]) -> Description:
    if len(files) > 1:
        raise DatasetError(
            f"{files[0].parent}: holds several descriptions ({', '.join(file.name for file in files)}); "
            "give the path of one of them as the data set"
        )
    return describe_beside(files[0])


FORMAT = DatasetFormat(
    name="MeViS", files=f"<split>/{MASKS} beside {META}.json, or <split>/{META}_v2.json", splits=_splits
)
