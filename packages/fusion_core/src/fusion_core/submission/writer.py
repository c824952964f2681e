"""Submissions in the layouts of the RVOS challenges (`forms`): written from a run.

A mask is an 8-bit grey PNG file, 0 background, 255 object.

Equal runs give equal bytes: entries come in the order of the run with a fixed date, and PNG files are stored, since
they are compressed already. One decoded mask is in memory at a time, besides the small PNG files of one video.
"""

import io
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, MaskRun, MaskTrack, VideoMasks
from mask_interchange.files import replace_whole
from PIL import Image
from program_kit.messages import some
from program_kit.progress import ProgressCallback

from fusion_core.errors import SubmissionError
from fusion_core.submission.forms import REF_YOUTUBE_VOS, SubmissionForm

__all__ = ["write_submission"]

DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_RUN_LENGTH_STRATEGY = 3  # zlib's Z_RLE: masks are long runs of one value


def write_submission(
    run: MaskRun,
    path: Path,
    dataset: Dataset | None = None,
    progress: ProgressCallback = lambda done, total: None,
    form: SubmissionForm = REF_YOUTUBE_VOS,
) -> int:
    """Write a run as a submission; the file appears when it is complete.

    Args:
        run: the masks to submit.
        path: the zip file to write; an old one is replaced.
        dataset: exactly its videos, expressions and frames are written. None: all that the run has.
        progress: called with videos done and in all.
        form: of the challenge.

    Returns:
        The number of masks written.

    Raises:
        SubmissionError: the run lacks something that the data set requires; the message lists it.
        OSError: the file cannot be written; an old one is as it was.
    """
    videos = run.videos() if dataset is None else [name for name, video in dataset.videos.items() if video.expressions]
    missing = run.missing(videos)
    if missing or not videos:
        raise SubmissionError(
            f"{run.path} lacks {len(missing)} of {len(videos)} videos: {some(missing)}; finish the run first"
            if videos
            else f"{run.path} has no videos"
        )
    count = 0

    def write(unfinished: Path) -> None:
        nonlocal count
        with zipfile.ZipFile(unfinished, "x", zipfile.ZIP_STORED) as archive:
            for done, name in enumerate(videos, start=1):
                for entry, png in _entries(run.read(name), dataset, form):
                    archive.writestr(entry, png)
                    count += 1
                progress(done, len(videos))

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, write)
    return count


def _entries(
    masks: VideoMasks, dataset: Dataset | None, form: SubmissionForm
) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
    tracks, frames = (masks.tracks, masks.frame_names) if dataset is None else _required(masks, dataset)
    position = {name: t for t, name in enumerate(masks.frame_names)}
    images: dict[bytes, bytes] = {}  # fused runs hold most masks twice
    for track in tracks:
        for frame in frames:
            t = position[frame]
            counts = track.masks[t]
            if counts not in images:
                images[counts] = mask_png(track.mask(t))
            entry = zipfile.ZipInfo(form.entry(masks.video, track.expression.id, frame), DATE)
            entry.create_system = 3  # Unix on every system, for equal bytes
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            yield entry, images[counts]


def _required(masks: VideoMasks, dataset: Dataset) -> tuple[Sequence[MaskTrack], Sequence[str]]:
    """The tracks and frames of a video that the data set requires, in its order."""
    video = dataset.videos[masks.video]
    ids, names = set(masks.expression_ids), set(masks.frame_names)
    expressions = [expression.id for expression in video.expressions if expression.id not in ids]
    frames = [name for name in video.frame_names if name not in names]
    for what, missing in {"expressions": expressions, "frames": frames}.items():
        if missing:
            raise SubmissionError(f"video {masks.video}: the run lacks {len(missing)} {what}: {some(missing)}")
    return [masks.track(expression.id) for expression in video.expressions], video.frame_names


def mask_png(mask: np.ndarray) -> bytes:
    """An 8-bit grey PNG, 0 and 255, of a mask bool [H, W]."""
    file = io.BytesIO()
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(file, "PNG", compress_type=_RUN_LENGTH_STRATEGY)
    return file.getvalue()
