"""Ref-YouTube-VOS, and whatever has its layout.

    meta_expressions/<split>/meta_expressions.json, <split>/JPEGImages/     the release of 2021
    valid/meta_expressions_challenge.json, valid/JPEGImages/                the validation set of 2026, with its masks
    meta_expressions.json (or _challenge), JPEGImages/                      one split by itself

The file of `valid` of 2021 lists the test videos too: where the file of `test` is present, `valid` means the videos
that this one does not list. Frames of test videos are looked for in `test` and in `valid`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats.description import DatasetFormat, Description, Videos
from mask_interchange.dataset_formats.expressions_file import META, read_expressions_file

CHALLENGE = f"{META}_challenge"  # names the objects, which the `meta_expressions.json` beside it does not


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    for name in (CHALLENGE, META):
        if (flat := root / f"{name}.json").is_file():
            return {None: partial(_read, flat, (root,))}
    files = {file.parent.name: file for file in root.glob(f"*/{CHALLENGE}.json")}
    if files:
        files = {file.parent.name: file for file in root.glob(f"*/{META}.json")} | files
    files |= {file.parent.name: file for file in root.glob(f"{META}/*/{META}.json")}
    return {split: partial(_read_split, root, split, file) for split, file in sorted(files.items())}


def _read_split(root: Path, split: str, file: Path) -> Description:
    folders = (root / split, root / "valid") if split == "test" else (root / split,)
    description = _read(file, folders)
    test = root / META / "test" / f"{META}.json"
    if split != "valid" or not test.is_file() or file.stem == CHALLENGE:
        return description
    others = read_expressions_file(test, root)
    videos: Videos = {video: entry for video, entry in description.videos.items() if video not in others}
    return Description(videos=videos, truth=description.truth)


def _read(file: Path, folders: tuple[Path, ...]) -> Description:
    truth = next((folder / "Annotations" for folder in folders if (folder / "Annotations").is_dir()), None)
    images = [folder / "JPEGImages" for folder in folders]
    return Description(videos=read_expressions_file(file, *images), truth=truth)


FORMAT = DatasetFormat(
    name="Ref-YouTube-VOS",
    files=f"{META}.json, {META}/<split>/{META}.json or <split>/{CHALLENGE}.json",
    splits=_splits,
)
