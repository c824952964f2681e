"""JHMDB-Sentences: one sentence a clip, which is only scored on.

    jhmdb_annotation.txt                                    video_id,query
    Rename_Images/<action>/<video>/00001.png
    puppet_mask/<action>/<video>/puppet_mask.mat            part_mask [H, W, T]; the last frames may have none

become `meta_expressions.json`, `JPEGImages/<video>/<frame>.png` (hard links where the disk allows) and
`Annotations/<video>/0/<frame>.png`. Published scores are those of three frames of each video, drawn once: the file
`jhmdb_sentences_samples_metadata.json` of MTTR and others names them, and `--samples` keeps their masks only.
"""

import csv
from pathlib import Path, PurePosixPath

import numpy as np
from mask_interchange import DatasetError, check_name, natural_key
from mask_interchange.json_files import read_json, read_utf8
from program_kit.progress import ProgressCallback
from scipy.io import loadmat

from fusion_core.conversion.conversion import Conversion, Converted, Request, place_file, write_json, write_mask

SENTENCES = "jhmdb_annotation.txt"


def _convert(request: Request, out: Path, progress: ProgressCallback) -> Converted:
    root, done = request.root, Converted()
    done.read_from(root, root / SENTENCES)
    samples = None if request.samples is None else _samples(request.samples)
    frames = {folder.name: folder for folder in sorted(root.glob("Rename_Images/*/*"))}
    masks = {file.parent.name: file for file in sorted(root.glob("puppet_mask/*/*/puppet_mask.mat"))}
    rows = [row for row in csv.reader(read_utf8(root / SENTENCES).splitlines()) if row][1:]
    described: dict[str, dict] = {}
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise DatasetError(f"{root / SENTENCES}: expected <video>,<query>, found {row!r:.80}")
        name = check_name("video", row[0])
        if name not in frames or name not in masks:
            raise DatasetError(
                f"{root}: expected frames and a puppet_mask.mat of video {name!r}, found no folder of one"
            )
        files = sorted(frames[name].glob("*.png"), key=lambda file: natural_key(file.stem))
        names = [file.stem for file in files]
        for file in files:
            place_file(file, out / "JPEGImages" / name / file.name)
        wanted = set(names) if samples is None else samples.get(name, set())
        for frame, mask in zip(names, _masks(masks[name], len(files)), strict=False):
            if frame in wanted:
                write_mask(mask, out / "Annotations" / name / "0" / f"{frame}.png")
                done.masks += 1
        described[name] = {"frames": names, "expressions": {"0": {"exp": row[1]}}}
        progress(number, len(rows))
    write_json({"videos": described}, out / "meta_expressions.json")
    done.videos = done.expressions = len(described)
    return done


def _samples(file: Path) -> dict[str, set[str]]:
    """Names of the frames to keep by video, of the published list `[video, path of the frame, ...]`."""
    at, tree = read_json(file)
    found: dict[str, set[str]] = {}
    for number, one in enumerate(at.typed(tree, list)):
        entry = (at / str(number)).typed(one, list)
        if len(entry) < 2 or not all(isinstance(part, str) for part in entry[:2]):
            raise DatasetError(f"{at / str(number)}: expected [video, path of a frame, ...], found {one!r:.80}")
        found.setdefault(entry[0], set()).add(PurePosixPath(entry[1]).stem)
    return found


def _masks(file: Path, frames: int) -> np.ndarray:
    """The masks bool [T, H, W] of a video's first T frames.

    Raises:
        DatasetError: the file is not of this form, or has more masks than there are frames.
    """
    try:
        stored = loadmat(file, variable_names=["part_mask"])["part_mask"]
    except Exception as error:  # scipy raises many types for a damaged file
        raise DatasetError(f"{file}: not a puppet_mask.mat: {error}") from error
    if stored.ndim != 3 or stored.shape[2] > frames:
        raise DatasetError(f"{file}: expected part_mask of [H, W, at most {frames} frames], found {stored.shape}")
    return stored.transpose(2, 0, 1) != 0


CONVERSION = Conversion(
    name="JHMDB-Sentences",
    files=f"{SENTENCES}, Rename_Images and puppet_mask",
    recognises=lambda root: (root / SENTENCES).is_file(),
    convert=_convert,
)
