"""MOSE and SA-V: masks without sentences, and no file that lists the videos.

<split>/JPEGImages/<video>/<frame>.jpg          MOSE, MOSEv2
<split>/Annotations/<video>/<frame>.png         label images; in `valid` of the first frame alone

<split>/JPEGImages_24fps/<video>/<frame>.jpg    SA-V, `sav_val` and `sav_test`
<split>/Annotations_6fps/<video>/<object>/<frame>.png
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.davis import described_folders
from mask_interchange.dataset_formats.description import DatasetFormat, Description
from mask_interchange.names import natural_key


def _splits(frames: str, masks: str, root: Path) -> Mapping[str | None, Callable[[], Description]]:
    folders = [folder for folder in sorted(root.glob(f"*/{frames}")) if folder.with_name(masks).is_dir()]
    return {folder.parent.name: partial(_read, folder, folder.with_name(masks)) for folder in folders}


def _read(frames: Path, masks: Path) -> Description:
    names = sorted((one.name for one in frames.iterdir() if one.is_dir()), key=natural_key)
    return Description(videos=described_folders(frames, names), truth=masks)


MOSE = DatasetFormat(
    name="MOSE",
    files="<split>/JPEGImages beside Annotations",
    splits=partial(_splits, "JPEGImages", "Annotations"),
    has_sentences=False,
)
SA_V = DatasetFormat(
    name="SA-V",
    files="<split>/JPEGImages_24fps beside Annotations_6fps",
    splits=partial(_splits, "JPEGImages_24fps", "Annotations_6fps"),
    has_sentences=False,
)
