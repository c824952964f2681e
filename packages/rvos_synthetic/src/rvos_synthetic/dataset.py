"""Synthetic videos as files in the layout of the Ref-YouTube-VOS release.

    ROOT/meta_expressions/<split>/meta_expressions.json    expressions, with the label of the object as obj_id
    ROOT/<split>/meta.json                                 objects: category, and the frames that show them
    ROOT/<split>/JPEGImages/<video>/<frame>.png            frames; lossless, so that the pixels are equal everywhere
    ROOT/<split>/Annotations/<video>/<frame>.png           labels: palette PNG, the value is the object's label
    ROOT/<split>/synthetic.json                            how the videos were made

A video is finished when its folder of frames exists, which is moved into place last. Only one process at a time may
write to a split.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.rendering import render, render_labels
from rvos_synthetic.video import (
    DEFAULT_FRAMES,
    DEFAULT_SIZE,
    EDITION,
    name_of_video,
    names_of_frames,
    plan_video,
    visibility,
)

UNFINISHED = ".unfinished-"
PNG_COMPRESSION = 3  # twice as fast as the default, files a few percent larger
LABEL_COLOURS = (
    (0, 0, 0),
    (236, 95, 103),
    (249, 145, 87),
    (250, 200, 99),
    (153, 199, 148),
    (98, 179, 178),
    (102, 153, 204),
)

ProgressCallback = Callable[[int, int], None]  # videos done, videos in all


def write_dataset(
    root: Path,
    split: str,
    count: int,
    *,
    size: tuple[int, int] = DEFAULT_SIZE,
    frames: int = DEFAULT_FRAMES,
    progress: ProgressCallback | None = None,
) -> None:
    """Write videos 0 to count - 1 of a split. Finished videos are kept, so interrupted work continues.

    Args:
        root: folder of the data set; may exist and hold other splits.
        split: train, valid or test.
        count: how many videos, 1 or more; may be raised later.
        size: (H, W) in pixels.
        frames: per video.
        progress: called with the number of finished videos and `count`, at the start and after each video.

    Raises:
        SyntheticError: an argument is out of range, or the folder holds other videos or videos of another size, length
            or edition.
        OSError: the folder cannot be written.
    """
    if count < 1:
        raise SyntheticError(f"videos: expected at least 1, found {count}")
    names = names_of_frames(frames)
    plan_video(split, count - 1, size)  # checks the arguments before anything is written
    folder = root / split
    videos = [name_of_video(split, index) for index in range(count)]
    _open_folder(folder, {"edition": EDITION, "split": split, "size": list(size), "frames": frames})
    _check_no_others(folder, videos)
    meta, expressions = {}, {}
    if progress:
        progress(0, count)
    for index, video in enumerate(videos):
        scene, video_expressions = plan_video(split, index, size)
        if (folder / "JPEGImages" / video).is_dir():
            labels = render_labels(scene, size, frames)
        else:
            pixels, labels = render(scene, size, frames)
            _write_images(folder / "Annotations" / video, dict(zip(names, labels, strict=True)))
            _write_images(folder / "JPEGImages" / video, dict(zip(names, pixels, strict=True)))
        visible = visibility(labels, len(scene.objects))
        meta[video] = {
            "objects": {
                str(item.label): {
                    "category": item.look.shape,
                    "frames": [name for name, shown in zip(names, visible[item.label - 1], strict=True) if shown],
                }
                for item in scene.objects
            }
        }
        expressions[video] = {
            "expressions": {str(k): {"exp": s.text, "obj_id": str(s.label)} for k, s in enumerate(video_expressions)},
            "frames": list(names),
        }
        if progress:
            progress(index + 1, count)
    _write_json(folder / "meta.json", {"videos": meta})
    _write_json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": expressions})


def _open_folder(folder: Path, settings: dict[str, object]) -> None:
    """Note the settings of a new folder, or check that an existing folder has the same settings."""
    note = folder / "synthetic.json"
    if not note.exists():
        if folder.exists() and any(folder.iterdir()):
            raise SyntheticError(f"{folder}: holds files that are not of a synthetic data set; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(note, settings)
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SyntheticError(f"{note}: cannot be read ({error}); delete {folder} and run the command again") from error
    if found != settings:
        raise SyntheticError(
            f"{folder}: expected videos with {_listed(settings)}, found {_listed(found)}; "
            "use the same settings, or choose another folder"
        )


def _check_no_others(folder: Path, videos: list[str]) -> None:
    """Remove unfinished videos of an interrupted run; raise SyntheticError if there are other videos."""
    for kind in ("Annotations", "JPEGImages"):
        (folder / kind).mkdir(exist_ok=True)
        for path in sorted((folder / kind).iterdir()):
            if path.name.startswith(UNFINISHED):
                shutil.rmtree(path)
            elif path.name not in videos:
                raise SyntheticError(
                    f"{path}: not one of the {len(videos)} videos asked for; ask for more, or choose another folder"
                )


def _write_images(folder: Path, images: Mapping[str, NDArray[np.uint8]]) -> None:
    """Write images as a folder of PNG files, completely or not at all."""
    unfinished = folder.with_name(UNFINISHED + folder.name)
    unfinished.mkdir()
    for name, pixels in images.items():
        image = Image.fromarray(pixels)
        if pixels.ndim == 2:
            image.putpalette([part for colour in LABEL_COLOURS for part in colour])
        image.save(unfinished / f"{name}.png", compress_level=PNG_COMPRESSION)
    if folder.exists():  # the annotations of a video whose frames were not finished
        shutil.rmtree(folder)
    os.replace(unfinished, folder)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(UNFINISHED + path.name)
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(unfinished, path)


def _listed(settings: object) -> str:
    if not isinstance(settings, dict):
        return repr(settings)
    return ", ".join(f"{key} {value}" for key, value in settings.items())
