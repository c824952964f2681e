"""Long-RVOS, and whatever has all files of a split in one folder.

<split>/meta_expressions.json
<split>/JPEGImages/<video>/<frame>.jpg
<split>/Annotations/<video>/<object>/<frame>.png    a frame without a file does not show the object
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.description import DatasetFormat, Description
from mask_interchange.dataset_formats.expressions_file import META, describe_beside


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    files = sorted(root.glob(f"*/{META}.json"))
    return {file.parent.name: partial(describe_beside, file) for file in files if file.with_name("JPEGImages").is_dir()}


FORMAT = DatasetFormat(name="Long-RVOS", files=f"<split>/{META}.json beside JPEGImages", splits=_splits)
