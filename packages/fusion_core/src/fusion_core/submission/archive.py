"""Reads the zip file of a submission, without trusting it.

It is read entry by entry in memory. Nothing is unpacked to disk, sizes are checked before anything is decompressed and
again before anything is decoded, and names are only compared, never used as paths.
"""

import io
import re
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mask_interchange import DatasetError
from mask_interchange.images import decode_image
from mask_interchange.rle import MAX_PIXELS
from program_kit.messages import some

from fusion_core.submission.findings import Finding, Kind
from fusion_core.submission.forms import SubmissionForm

MAX_DIRECTORY = 64 * 2**20  # bytes of the zip file's table of contents: about half a million masks
MAX_PNG = 16 * 2**20  # bytes of one mask's file
MAX_TOTAL = 64 * 2**30  # bytes of all files, unpacked
MAX_RATIO = 200  # unpacked to packed size, only for files above 1 MB: small empty masks pack very well

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}

MaskKey = tuple[str, str, str]  # video, expression, frame


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskImage:
    """The content of one mask file: (height, width), and how many pixels are 255, or None if its values are wrong."""

    size: tuple[int, int]
    foreground: int | None


# --- the table of contents --------------------------------------------------------------------------------------------


def directory_size(file: io.BufferedReader) -> int:
    """Bytes of the table of contents as the end of the zip file declares them; the largest of all possible readings.

    To be checked before `zipfile` makes an object of each entry, which takes many times the space.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(max(length - 2**16 - 98, 0))  # longest comment, and the end records of both kinds
    tail = file.read()
    sizes = [0]
    for record in re.finditer(rb"PK\x05\x06", tail):
        if len(tail) >= record.start() + 22:
            sizes.append(struct.unpack_from("<I", tail, record.start() + 12)[0] % 0xFFFFFFFF)
        large = record.start() - 20 - 56  # the zip64 record and its locator come before
        if large >= 0 and tail[large : large + 4] == b"PK\x06\x06":
            sizes.append(struct.unpack_from("<Q", tail, large + 40)[0])
    file.seek(0)
    return max(sizes)


# --- names ------------------------------------------------------------------------------------------------------------


def find_masks(
    entries: Iterable[zipfile.ZipInfo], form: SubmissionForm
) -> tuple[dict[MaskKey, zipfile.ZipInfo], list[Finding]]:
    """The entry of each mask, read as generously as possible, and what is wrong with the names."""
    masks: dict[MaskKey, zipfile.ZipInfo] = {}
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
        above, below = _split_at_top(parts, form.top)
        if len(below) != 3:
            detail = "no folder for the expression" if len(below) == 2 else ""
            findings.append(Finding(kind=Kind.WRONG_DEPTH, where=name, detail=detail))
            continue
        if above != form.top:
            tops[above] += 1
        if not parts[-1].endswith(".png"):
            findings.append(
                Finding(kind=Kind.UNEXPECTED_FILE, where=name, detail="the suffix must be .png, lower case")
            )
        mask = below[0], below[1], below[2][:-4]
        if mask in masks:
            findings.append(Finding(kind=Kind.DUPLICATE, where=name))
        masks.setdefault(mask, entry)
    for above, count in tops.items():
        where = f"{above}/" if above else "top of the zip file"
        findings.append(
            Finding(kind=Kind.WRONG_TOP, where=where, detail=f"{count} masks lie there, not at {form.layout}")
        )
    return masks, findings


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


def _split_at_top(parts: Sequence[str], top: str) -> tuple[str, Sequence[str]]:
    """The folders above the masks, and <video>/<expression>/<frame>.png below them."""
    # If there is no such folder, or it has another name, the deepest files count as the masks.
    cut = parts.index(top) + 1 if top in parts[:-1] else max(len(parts) - 3, 0)
    return "/".join(parts[:cut]), parts[cut:]


# --- single masks -----------------------------------------------------------------------------------------------------


def read_mask(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[MaskImage | None, list[Finding]]:
    """One mask, None if it cannot be read, and what is wrong with it."""
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
    except Exception as error:  # zipfile raises many types for a damaged file
        return None, found(Kind.UNREADABLE, str(error)[:200])
    size = header.height, header.width
    if header.width * header.height > MAX_PIXELS:
        return None, found(Kind.TOO_LARGE, f"{header.width} x {header.height} pixels, more than {MAX_PIXELS}")
    if (header.depth, header.colour) != (8, 0):
        return MaskImage(size=size, foreground=None), found(Kind.WRONG_MODE, header.mode)
    try:
        with decode_image(io.BytesIO(data), name, ("PNG",)) as image:
            pixels = image.histogram()
    except DatasetError as error:
        return None, found(Kind.UNREADABLE, str(error.__cause__ or error)[:200])
    values = [value for value, count in enumerate(pixels) if count]
    if not {0, 255}.issuperset(values):
        return MaskImage(size=size, foreground=None), found(Kind.WRONG_VALUE, f"the values are {some(values)}")
    return MaskImage(size=size, foreground=pixels[255]), []


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
