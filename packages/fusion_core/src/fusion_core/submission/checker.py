"""Finds every fault of a submission, whoever made it."""

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from mask_interchange import Dataset, DatasetError, natural_key
from mask_interchange.files import open_regular
from program_kit.messages import some
from program_kit.progress import ProgressCallback
from rvos_evaluation.threads import in_threads

from fusion_core.errors import SubmissionError
from fusion_core.submission.archive import (
    MAX_DIRECTORY,
    MAX_TOTAL,
    MaskImage,
    MaskKey,
    directory_size,
    find_masks,
    read_mask,
)
from fusion_core.submission.findings import Finding, Kind, SubmissionCheck
from fusion_core.submission.forms import REF_YOUTUBE_VOS, SubmissionForm

__all__ = ["check_submission"]


def check_submission(
    path: Path,
    dataset: Dataset | None = None,
    progress: ProgressCallback = lambda done, total: None,
    form: SubmissionForm = REF_YOUTUBE_VOS,
) -> SubmissionCheck:
    """Check a zip file of any origin.

    Args:
        path: the zip file.
        dataset: what is required; without it, expressions, frames and sizes are only compared within each video.
        progress: called with masks checked and in all.
        form: of the challenge.

    Raises:
        SubmissionError: the file cannot be read.
        DatasetError: the data set itself has a fault.
    """
    result = SubmissionCheck(complete=dataset is not None)
    try:
        file = open_regular(path)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        if (size := directory_size(file)) > MAX_DIRECTORY:
            detail = f"its table of contents has {size} bytes, more than {MAX_DIRECTORY}"
            result.findings = [Finding(kind=Kind.TOO_LARGE, where=path.name, detail=detail)]
            return result
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # zipfile raises many types for a damaged file
            result.findings.append(Finding(kind=Kind.NOT_A_ZIP, where=path.name, detail=str(error)))
        else:
            with archive:
                _check_archive(archive, path.name, dataset, progress, form, result)
    order = list(Kind)
    result.findings.sort(key=lambda finding: order.index(finding.kind))
    return result


def _check_archive(
    archive: zipfile.ZipFile,
    name: str,
    dataset: Dataset | None,
    progress: ProgressCallback,
    form: SubmissionForm,
    result: SubmissionCheck,
) -> None:
    total = sum(entry.file_size for entry in archive.infolist())
    if total > MAX_TOTAL:
        detail = f"its files have {total} bytes unpacked, more than {MAX_TOTAL}"
        result.findings.append(Finding(kind=Kind.TOO_LARGE, where=name, detail=detail))
        return
    masks, findings = find_masks(archive.infolist(), form)
    result.findings += findings
    result.masks, result.videos = len(masks), len({video for video, _, _ in masks})
    images: dict[MaskKey, MaskImage] = {}
    outcomes = in_threads(lambda entry: read_mask(archive, entry), masks.values())
    for done, (mask, (image, findings)) in enumerate(zip(masks, outcomes, strict=True), start=1):
        result.findings += findings
        if image:
            images[mask] = image
        progress(done, len(masks))
    result.findings += _check_sizes(images, dataset)
    result.findings += _check_content(images)
    result.findings += _check_complete(masks, dataset)


# --- all masks together -----------------------------------------------------------------------------------------------


def _check_sizes(images: Mapping[MaskKey, MaskImage], dataset: Dataset | None) -> list[Finding]:
    """Masks with another size than the frames of their video or, if these are not there, than most of its masks."""
    sizes: dict[str, dict[MaskKey, tuple[int, int]]] = defaultdict(dict)
    for mask, image in images.items():
        sizes[mask[0]][mask] = image.size
    findings = []
    for video, of_masks in sizes.items():
        expected = _frame_size(dataset, video)
        source = "the video's frames are"
        if expected is None:
            expected = Counter(of_masks.values()).most_common(1)[0][0]
            source = "most masks of the video are"
        findings += [
            Finding(
                kind=Kind.WRONG_SIZE,
                where="/".join(mask),
                detail=f"{size[1]} x {size[0]} pixels; {source} {expected[1]} x {expected[0]}",
            )
            for mask, size in of_masks.items()
            if size != expected
        ]
    return findings


def _frame_size(dataset: Dataset | None, video: str) -> tuple[int, int] | None:
    if dataset is None or video not in dataset.videos:
        return None
    try:
        return dataset.videos[video].size
    except DatasetError:  # a submission can be checked without the frames
        return None


def _check_content(images: Mapping[MaskKey, MaskImage]) -> list[Finding]:
    shares: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for (video, expression, _), image in images.items():
        pixels = image.size[0] * image.size[1]
        shares[video, expression].append(None if image.foreground is None else image.foreground / pixels)
    findings = []
    for (video, expression), of_frames in shares.items():
        for kind, share in {Kind.ALL_EMPTY: 0.0, Kind.ALL_WHITE: 1.0}.items():
            if all(value == share for value in of_frames):
                findings.append(Finding(kind=kind, where=f"{video}/{expression}", detail=f"{len(of_frames)} masks"))
    return findings


def _check_complete(masks: Iterable[MaskKey], dataset: Dataset | None) -> list[Finding]:
    """What is missing and what is too much. Without a data set, expressions of a video are compared by their frames."""
    held: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for video, expression, frame in masks:
        held[video][expression].add(frame)
    if dataset is None:
        required = {
            video: dict.fromkeys(expressions, set().union(*expressions.values())) for video, expressions in held.items()
        }
    else:
        required = {
            name: {expression.id: set(video.frame_names) for expression in video.expressions}
            for name, video in dataset.videos.items()
            if video.expressions
        }
    findings = _compare(Kind.MISSING_VIDEO, Kind.EXTRA_VIDEO, "", required, held)
    for video in required.keys() & held.keys():
        findings += _compare(Kind.MISSING_EXPRESSION, Kind.EXTRA_EXPRESSION, f"{video}/", required[video], held[video])
        for expression in required[video].keys() & held[video].keys():
            where = f"{video}/{expression}"
            there, needed = held[video][expression], required[video][expression]
            for kind, frames in {
                Kind.MISSING_FRAME: needed - there,
                Kind.EXTRA_FRAME: there - needed,
            }.items():
                if frames:
                    findings.append(Finding(kind=kind, where=where, detail=_counted(frames)))
    return sorted(findings, key=lambda finding: natural_key(finding.where))


def _compare(missing: Kind, extra: Kind, prefix: str, required: Iterable[str], held: Iterable[str]) -> list[Finding]:
    required, held = set(required), set(held)
    absent = [Finding(kind=missing, where=prefix + name) for name in required - held]
    return absent + [Finding(kind=extra, where=prefix + name) for name in held - required]


def _counted(frames: Iterable[str]) -> str:
    names = sorted(frames, key=natural_key)
    return f"{len(names)}: {some(names)}"
