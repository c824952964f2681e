"""ReVOS, and whatever has one folder of frames for all splits, as FeVOS.

meta_expressions_train_.json, meta_expressions_valid_.json      or without the last underscore
mask_dict.json                                                  masks; item t belongs to frame t of the sorted names
JPEGImages/<video>/<frame>.jpg                                  the name of a video leads through folders
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.description import DatasetFormat, Description
from mask_interchange.dataset_formats.expressions_file import META, describe_beside


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    files = sorted(root.glob(f"{META}_*.json")) if (root / "JPEGImages").is_dir() else []
    return {file.stem.removeprefix(f"{META}_").strip("_"): partial(describe_beside, file) for file in files}


FORMAT = DatasetFormat(name="ReVOS", files=f"{META}_<split>_.json beside JPEGImages", splits=_splits)
