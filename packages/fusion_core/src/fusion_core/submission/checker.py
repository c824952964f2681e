"""Find every fault of a submission, also of one made elsewhere, without trusting it.

A zip file is read entry by entry in memory: nothing is unpacked, sizes are looked at before anything is decompressed
and again before anything is decoded, and names are only compared, never used as paths.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from mask_interchange import Dataset, DatasetError, natural_key
from PIL import Image
from rvos_evaluation.threads import in_threads

from fusion_core.errors import SubmissionError
from fusion_core.submission.writer import TOP

MAX_DIRECTORY = 64 * 2**20  # bytes of the zip file's table of contents: about half a million masks
MAX_PNG = 16 * 2**20  # bytes of one mask's file
MAX_TOTAL = 64 * 2**30  # bytes of all files, unpacked
MAX_PIXELS = 2**26  # of one mask: 8192 x 8192
MAX_RATIO = 200  # unpacked to packed size; only looked at from a megabyte on, since small empty masks pack very well

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
# What zipfile, zlib and Pillow raise on damaged input; NotImplementedError is a RuntimeError.
_READ_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError, SyntaxError,
    OverflowError, Image.DecompressionBombError,
)  # fmt: skip

Place = tuple[str, str, str]  # video, expression, frame


class Kind(StrEnum):
    """What can be wrong, in the words of the report; the first ones keep the rest from being checked."""

    NOT_A_ZIP = "not a readable zip file"
    TOO_LARGE = "suspicious size (zip bomb?)"
    UNSAFE_NAME = "unsafe name"
    WRONG_TOP = f"masks do not lie in {TOP}/ at the top of the zip file"
    WRONG_DEPTH = f"not at {TOP}/<video>/<expression>/<frame>.png"
    UNEXPECTED_FILE = "file that is no mask"
    DUPLICATE = "mask stored twice"
    UNREADABLE = "unreadable file"
    WRONG_MODE = "not an 8-bit grey PNG"
    WRONG_VALUE = "values other than 0 and 255"
    WRONG_SIZE = "wrong size"
    MISSING_VIDEO = "missing video"
    EXTRA_VIDEO = "video that is not asked for"
    MISSING_EXPRESSION = "missing expression"
    EXTRA_EXPRESSION = "expression that is not asked for"
    MISSING_FRAME = "missing frames"
    EXTRA_FRAME = "frames that are not asked for"
    ALL_EMPTY = "every mask of the expression is empty"
    ALL_WHITE = "every mask of the expression is all white"


WARNINGS = frozenset({Kind.ALL_EMPTY, Kind.ALL_WHITE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: where in the zip file, and the details."""

    kind: Kind
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


@dataclass(slots=True, kw_only=True)
class SubmissionReport:
    """What a check has found.

    Attributes:
        findings: faults and warnings, in the order of `Kind`.
        masks: mask files that were found.
        videos: videos that they belong to.
        complete: whether completeness was checked against a data set.
    """

    findings: list[Finding] = field(default_factory=list)
    masks: int = 0
    videos: int = 0
    complete: bool = False

    @property
    def faults(self) -> list[Finding]:
        """What makes the submission fail or score wrongly."""
        return [finding for finding in self.findings if finding.kind not in WARNINGS]

    @property
    def warnings(self) -> list[Finding]:
        """What is allowed and rarely meant."""
        return [finding for finding in self.findings if finding.kind in WARNINGS]

    def by_kind(self) -> dict[Kind, list[Finding]]:
        """Findings grouped, kinds in their order."""
        groups = {kind: [one for one in self.findings if one.kind is kind] for kind in Kind}
        return {kind: group for kind, group in groups.items() if group}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """What one mask's file holds: (height, width), and how many pixels are 255 when its values are sound."""

    size: tuple[int, int]
    foreground: int | None


def check_submission(
    path: Path, dataset: Dataset | None = None, report: Callable[[int, int], None] = lambda done, total: None
) -> SubmissionReport:
    """Check a zip file of any origin.

    Args:
        path: the zip file.
        dataset: what is asked for; without it completeness and sizes are only compared within each video.
        report: called with masks checked and in all.

    Raises:
        SubmissionError: there is no such file.
        DatasetError: the data set itself is at fault.
    """
    if not path.is_file():
        raise SubmissionError(f"{path}: no such file")
    result = SubmissionReport(complete=dataset is not None)
    try:
        with open(path, "rb") as file:
            if (size := _directory_size(file)) > MAX_DIRECTORY:
                detail = f"its table of contents has {size} bytes, more than {MAX_DIRECTORY}"
                result.findings = [Finding(kind=Kind.TOO_LARGE, where=path.name, detail=detail)]
                return result
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, path.name, dataset, report, result)
    except _READ_ERRORS as error:
        result.findings.append(Finding(kind=Kind.NOT_A_ZIP, where=path.name, detail=str(error)))
    order = list(Kind)
    result.findings.sort(key=lambda finding: order.index(finding.kind))
    return result


def _check_archive(
    archive: zipfile.ZipFile,
    name: str,
    dataset: Dataset | None,
    report: Callable[[int, int], None],
    result: SubmissionReport,
) -> None:
    total = sum(entry.file_size for entry in archive.infolist())
    if total > MAX_TOTAL:
        detail = f"its files have {total} bytes unpacked, more than {MAX_TOTAL}"
        result.findings.append(Finding(kind=Kind.TOO_LARGE, where=name, detail=detail))
        return
    places, findings = _layout(archive.infolist())
    result.findings += findings
    result.masks, result.videos = len(places), len({video for video, _, _ in places})
    images: dict[Place, _Image] = {}
    outcomes = in_threads(lambda entry: _check_image(archive, entry), places.values())
    for done, (place, (image, findings)) in enumerate(zip(places, outcomes, strict=True), start=1):
        result.findings += findings
        if image:
            images[place] = image
        report(done, len(places))
    result.findings += _check_sizes(images, dataset)
    result.findings += _check_content(images)
    result.findings += _check_complete(places, dataset)


# --- names ----------------------------------------------------------------------------------------------------------


def _layout(entries: Iterable[zipfile.ZipInfo]) -> tuple[dict[Place, zipfile.ZipInfo], list[Finding]]:
    """Where every mask belongs, read as generously as can be, and what is wrong with the names."""
    places: dict[Place, zipfile.ZipInfo] = {}
    findings: list[Finding] = []
    tops: Counter[str] = Counter()
    for entry in entries:
        name = entry.orig_filename
        if "\\" in name:
            findings.append(
                Finding(kind=Kind.UNSAFE_NAME, where=name, detail="backslashes; folders are separated by /")
            )
            name = name.replace("\\", "/")
        if unsafe := _unsafe(name, stat.S_IFMT(entry.external_attr >> 16)):
            findings.append(Finding(kind=Kind.UNSAFE_NAME, where=repr(name)[:200], detail=unsafe))
            continue
        if name.endswith("/"):
            continue
        parts = name.split("/")
        if not parts[-1].lower().endswith(".png") or parts[-1].startswith(".") or parts[0] == "__MACOSX":
            findings.append(Finding(kind=Kind.UNEXPECTED_FILE, where=name))
            continue
        above, below = _split_at_top(parts)
        if len(below) != 3:
            detail = "no folder for the expression" if len(below) == 2 else ""
            findings.append(Finding(kind=Kind.WRONG_DEPTH, where=name, detail=detail))
            continue
        if above != TOP:
            tops[above] += 1
        if not parts[-1].endswith(".png"):
            findings.append(
                Finding(kind=Kind.UNEXPECTED_FILE, where=name, detail="the suffix must be .png, lower case")
            )
        place = below[0], below[1], below[2][:-4]
        if place in places:
            findings.append(Finding(kind=Kind.DUPLICATE, where=name))
        places.setdefault(place, entry)
    for above, count in tops.items():
        where = f"{above}/" if above else "top of the zip file"
        findings.append(Finding(kind=Kind.WRONG_TOP, where=where, detail=f"{count} masks lie there"))
    return places, findings


def _unsafe(name: str, kind: int) -> str | None:
    """What is wrong with an entry of this name and Unix file type."""
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a symbolic link" if kind == stat.S_IFLNK else "a special file"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        return "an empty, . or .. folder"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        return "control characters"
    return None


def _split_at_top(parts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The folders above the masks, and <video>/<expression>/<frame>.png below them."""
    # Without the folder, or under another name, what lies deepest is taken for the masks.
    cut = parts.index(TOP) + 1 if TOP in parts[:-1] else max(len(parts) - 3, 0)
    return "/".join(parts[:cut]), parts[cut:]


# --- single masks ---------------------------------------------------------------------------------------------------


def _check_image(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[_Image | None, list[Finding]]:
    name = entry.orig_filename

    def found(kind: Kind, detail: str) -> list[Finding]:
        return [Finding(kind=kind, where=name, detail=detail)]

    if entry.flag_bits & 0x1:
        return None, found(Kind.UNREADABLE, "encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None, found(
            Kind.UNREADABLE, f"compression method {entry.compress_type}; use deflate, or store the files"
        )
    if entry.file_size > MAX_PNG:
        return None, found(Kind.TOO_LARGE, f"{entry.file_size} bytes, more than {MAX_PNG}")
    if entry.file_size > max(2**20, MAX_RATIO * entry.compress_size):
        return None, found(Kind.TOO_LARGE, f"{entry.compress_size} bytes that unpack to {entry.file_size}")
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_PNG + 1)
        header = _png_header(data)
        if header.width * header.height > MAX_PIXELS:
            return None, found(Kind.TOO_LARGE, f"{header.width} x {header.height} pixels, more than {MAX_PIXELS}")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            pixels = np.asarray(image)
    except _READ_ERRORS as error:
        return None, found(Kind.UNREADABLE, str(error)[:200])
    size = header.height, header.width
    if (header.depth, header.colour) != (8, 0):
        return _Image(size=size, foreground=None), found(Kind.WRONG_MODE, header.mode)
    foreground = int(np.count_nonzero(pixels == 255))
    if foreground != np.count_nonzero(pixels):
        values = np.unique(pixels)
        shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        return _Image(size=size, foreground=None), found(Kind.WRONG_VALUE, f"the values are {shown}")
    return _Image(size=size, foreground=foreground), []


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int

    @property
    def mode(self) -> str:
        return f"{self.depth}-bit {_COLOUR_TYPES.get(self.colour, f'colour type {self.colour}')}"


def _png_header(data: bytes) -> _Header:
    """Size and pixel format from the first chunk of a PNG file."""
    if not data.startswith(_PNG_SIGNATURE):
        raise ValueError("not a PNG file" if data else "an empty file")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ValueError("a PNG file without a header")
    return _Header(*struct.unpack(">IIBB", data[16:26]))


# --- all masks together ---------------------------------------------------------------------------------------------


def _check_sizes(images: Mapping[Place, _Image], dataset: Dataset | None) -> list[Finding]:
    """Masks that are not of their video's size: that of its frames if they are there, else that of most masks."""
    sizes: dict[str, dict[Place, tuple[int, int]]] = defaultdict(dict)
    for place, image in images.items():
        sizes[place[0]][place] = image.size
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
                where="/".join(place),
                detail=f"{size[1]} x {size[0]} pixels; {source} {expected[1]} x {expected[0]}",
            )
            for place, size in of_masks.items()
            if size != expected
        ]
    return findings


def _frame_size(dataset: Dataset | None, video: str) -> tuple[int, int] | None:
    if dataset is None or video not in dataset.videos:
        return None
    try:
        return dataset.videos[video].size
    except DatasetError:  # a submission can be checked without the pictures
        return None


def _check_content(images: Mapping[Place, _Image]) -> list[Finding]:
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


def _check_complete(places: Iterable[Place], dataset: Dataset | None) -> list[Finding]:
    """What is missing and what is too much; without a data set only frames that the video's other expressions have."""
    held: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for video, expression, frame in places:
        held[video][expression].add(frame)
    if dataset is None:
        asked = {
            video: dict.fromkeys(expressions, set().union(*expressions.values())) for video, expressions in held.items()
        }
    else:
        asked = {
            name: {expression.id: set(video.frame_names) for expression in video.expressions}
            for name, video in dataset.videos.items()
            if video.expressions
        }
    findings = _compare(Kind.MISSING_VIDEO, Kind.EXTRA_VIDEO, "", asked, held)
    for video in asked.keys() & held.keys():
        findings += _compare(Kind.MISSING_EXPRESSION, Kind.EXTRA_EXPRESSION, f"{video}/", asked[video], held[video])
        for expression in asked[video].keys() & held[video].keys():
            where = f"{video}/{expression}"
            there, needed = held[video][expression], asked[video][expression]
            for kind, frames in {Kind.MISSING_FRAME: needed - there, Kind.EXTRA_FRAME: there - needed}.items():
                if frames:
                    findings.append(Finding(kind=kind, where=where, detail=_counted(frames)))
    return sorted(findings, key=lambda finding: natural_key(finding.where))


def _compare(missing: Kind, extra: Kind, prefix: str, asked: Iterable[str], held: Iterable[str]) -> list[Finding]:
    asked, held = set(asked), set(held)
    lacking = [Finding(kind=missing, where=prefix + name) for name in asked - held]
    return lacking + [Finding(kind=extra, where=prefix + name) for name in held - asked]


def _counted(frames: Iterable[str]) -> str:
    names = sorted(frames, key=natural_key)
    return f"{len(names)}: {', '.join(names[:5])}" + (", ..." if len(names) > 5 else "")


# --- the zip file itself ---------------------------------------------------------------------------------------------


def _directory_size(file: io.BufferedReader) -> int:
    """Bytes of the table of contents as the end of the zip file declares them, the largest of all possible readings.

    Looked at before `zipfile` makes an object of every entry, which takes many times the space.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(max(length - 2**16 - 98, 0))  # longest comment, and the end records of both kinds
    tail = file.read()
    sizes = [0]
    for record in re.finditer(rb"PK\x05\x06", tail):
        if len(tail) >= record.start() + 22:
            sizes.append(struct.unpack_from("<I", tail, record.start() + 12)[0] % 0xFFFFFFFF)
        large = record.start() - 20 - 56  # the zip64 record and its locator stand before
        if large >= 0 and tail[large : large + 4] == b"PK\x06\x06":
            sizes.append(struct.unpack_from("<Q", tail, large + 40)[0])
    file.seek(0)
    return max(sizes)
