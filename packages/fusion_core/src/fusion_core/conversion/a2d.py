"""A2D-Sentences: sentences about single annotated frames of short clips.

    Release/videoset.csv                            no header; column 1 the video, column 9 its subset (0 train, 1 test)
    Release/clips320H/<video>.mp4
    text_annotations/a2d_annotation.txt             video_id,instance_id,query
    text_annotations/a2d_missed_videos.txt          videos that nobody uses
    text_annotations/a2d_annotation_with_instances/<video>/00010.h5

become `<split>/meta_expressions.json`, `<split>/JPEGImages/<video>/<frame>.png` (lossless) and, for the annotated
frames that hold the instance, `<split>/Annotations/<video>/<expression>/<frame>.png`. Frames are numbered from 1, as
the files of the annotation. Sentences without any such frame are left out, as published.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from mask_interchange import DatasetError, Video, check_name, natural_key, open_video
from mask_interchange.json_files import read_utf8
from PIL import Image
from program_kit.progress import ProgressCallback

from fusion_core.conversion.conversion import Converted, Request, write_json, write_mask

TEXTS = Path("text_annotations")
SENTENCES, UNUSED = TEXTS / "a2d_annotation.txt", TEXTS / "a2d_missed_videos.txt"
MASKS = TEXTS / "a2d_annotation_with_instances"
SUBSETS = Path("Release") / "videoset.csv"
SPLITS = {"0": "train", "1": "test"}
LARGEST = 2**26  # pixels of all masks of a frame


def convert(request: Request, out: Path, progress: ProgressCallback) -> Converted:
    """Write the splits; arguments as in `Conversion`.

    Raises:
        DatasetError: a file is missing or is not as described; says which.
    """
    root, done = request.root, Converted()
    for file in (SENTENCES, UNUSED, SUBSETS):
        done.read_from(root, root / file)
    splits = _splits(root)
    sentences = _sentences(root, done)
    videos: dict[str, dict[str, dict]] = {split: {} for split in SPLITS.values()}
    for number, (video, said) in enumerate(sentences.items(), start=1):
        if video in splits:
            _convert_video(root, video, said, out / splits[video], videos[splits[video]], done)
        progress(number, len(sentences))
    for split, described in videos.items():
        if described:
            write_json({"videos": described}, out / split / "meta_expressions.json")
    return done


def _splits(root: Path) -> dict[str, str]:
    """The split of every video that is used."""
    unused = set(read_utf8(root / UNUSED).split())
    rows = _rows(root / SUBSETS, 9)
    return {row[0]: SPLITS[row[8].strip()] for row in rows if row[0] not in unused and row[8].strip() in SPLITS}


def _sentences(root: Path, done: Converted) -> dict[str, list[tuple[int, str]]]:
    """Instance and text of every sentence, by video."""
    found: dict[str, list[tuple[int, str]]] = {}
    for video, instance, text, *_ in list(_rows(root / SENTENCES, 3))[1:]:
        if not instance.strip().isdecimal():  # one is called "1 (copy)", and is left out by everybody
            done.notes.append(f"{video}: left out the sentence about instance {instance!r}")
            continue
        found.setdefault(check_name("video", video), []).append((int(instance), text))
    return found


def _rows(file: Path, columns: int) -> Iterator[list[str]]:
    for number, row in enumerate(csv.reader(read_utf8(file).splitlines()), start=1):
        if row and len(row) < columns:
            raise DatasetError(f"{file}: line {number}: expected at least {columns} columns, found {len(row)}")
        if row:
            yield row


def _convert_video(
    root: Path, name: str, sentences: list[tuple[int, str]], out: Path, described: dict[str, dict], done: Converted
) -> None:
    annotated = {
        file.stem: _instances(file)
        for file in sorted((root / MASKS / name).glob("*.h5"), key=lambda file: natural_key(file.stem))
    }
    kept = [(k, one) for k, one in enumerate(sentences) if any(one[0] in masks for masks in annotated.values())]
    if len(kept) < len(sentences):
        done.notes.append(f"{name}: left out {len(sentences) - len(kept)} sentences about instances without a mask")
    if not kept:
        return
    video = open_video(root / "Release" / "clips320H" / f"{name}.mp4").videos
    frames = _write_frames(next(iter(video.values())), out / "JPEGImages" / name)
    for k, (instance, _) in kept:
        for frame, masks in annotated.items():
            if instance not in masks:
                continue
            if frame not in frames or masks[instance].shape != frames[frame]:
                raise DatasetError(
                    f"video {name!r}: expected a frame {frame!r} of {masks[instance].shape} (height, width), as its "
                    f"annotation has it, found {frames.get(frame, 'none')}"
                )
            write_mask(masks[instance], out / "Annotations" / name / str(k) / f"{frame}.png")
            done.masks += 1
    expressions = {str(k): {"exp": text, "obj_id": str(instance)} for k, (instance, text) in kept}
    described[name] = {"frames": list(frames), "expressions": expressions}
    done.videos += 1
    done.expressions += len(kept)


def _write_frames(video: Video, folder: Path) -> dict[str, tuple[int, ...]]:
    """Write all frames, numbered from 1; their sizes by name."""
    folder.mkdir(parents=True)
    sizes = {}
    for number, frame in enumerate(video.frames(), start=1):
        name = f"{number:05d}"
        Image.fromarray(frame).save(folder / f"{name}.png")
        sizes[name] = frame.shape[:2]
    return sizes


def _instances(file: Path) -> dict[int, np.ndarray]:
    """The masks bool [H, W] of a frame by instance. They are stored with the axes swapped, one alone without its axis.

    Raises:
        DatasetError: the file is not of this form.
    """
    try:
        with h5py.File(file, "r") as content:
            names, masks = np.atleast_1d(_array(content, "instance")).ravel(), _array(content, "reMask")
    except DatasetError:
        raise
    except Exception as error:  # h5py raises many types for a damaged file
        raise DatasetError(f"{file}: not an annotation of A2D: {error}") from error
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or len(masks) != len(names):
        raise DatasetError(f"{file}: expected a mask for each of {len(names)} instances, found an array {masks.shape}")
    return {int(one): mask.T.astype(bool) for one, mask in zip(names.tolist(), masks, strict=True)}


def _array(content: h5py.File, key: str) -> np.ndarray:
    stored = content[key]
    if not isinstance(stored, h5py.Dataset) or stored.size is None or stored.size > LARGEST:
        raise DatasetError(f"{content.filename}: expected at most {LARGEST} numbers in {key!r}, found {stored!r}")
    return np.asarray(stored[()])
