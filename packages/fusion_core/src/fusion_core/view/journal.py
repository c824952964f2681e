"""The corrections of one video as lines of a file that only grows: nothing that was answered is lost.

The first line says of which video the corrections are. Every further line is one record, or a part of one that has too
many masks for a line; `more` says that the next line belongs to it. A line ends with the CRC-32 of what stands before
it, and is on the disk before anybody is told that it was written. What a killed process left of a record at the end is
cut off; damage anywhere else is an error, and then nothing is written.
"""

import base64
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from mask_interchange import MaskInterchangeError
from mask_interchange.files import open_regular, write_whole
from mask_interchange.rle import Size, check_masks

from fusion_core.errors import FusionCoreError

VERSION = 1
MASKS_A_LINE = 64
_LINE = re.compile(rb'(\{.*), "crc": ([0-9]{1,10})\}', re.DOTALL)


class JournalError(FusionCoreError):
    """A journal that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a journal is about; the first line of its file.

    Attributes:
        video: its id.
        size: (H, W) of its masks.
        frames: number of frames.
        source: name of the run that is corrected.
    """

    video: str
    size: Size
    frames: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line behind the first.

    Attributes:
        number: of the line, from 1.
        kind: `draw`, `take`, `propagate`, `clear`, `lock`, `unlock`, `undo` or `redo`.
        expression: id of the expression; None for undo and redo.
        start: first frame.
        stop: the one after the last.
        run: the run that masks are taken from, or the program that has propagated them.
        more: whether the next line belongs to the same record.
        has_masks: whether it holds masks of its frames.
    """

    number: int
    kind: str
    expression: str | None = None
    start: int = 0
    stop: int = 0
    run: str | None = None
    more: bool = False
    has_masks: bool = False


Strings = Callable[[int, int], Sequence[bytes]]  # run-length strings of frames start..stop-1
KINDS = frozenset({"draw", "take", "propagate", "clear", "lock", "unlock", "undo", "redo"})
WITH_MASKS = frozenset({"draw", "take", "propagate"})


class Journal:
    """A journal on disk. It is made with its first record.

    Attributes:
        path: the file.
        subject: what it is about.
        lines: all lines behind the first.
    """

    def __init__(self, path: Path, subject: Subject) -> None:
        """Read what is there.

        Raises:
            JournalError: the file is damaged before its last record, or is about something else.
        """
        self.path = path
        self.subject = subject
        self.lines: list[Line] = []
        self._places: list[tuple[int, int]] = []  # first byte and length of each line
        self._size = 0  # bytes of the file that count
        if path.is_file():
            self._read()

    def append(
        self,
        kind: str,
        expression: str | None = None,
        start: int = 0,
        stop: int = 0,
        *,
        masks: Strings | None = None,
        run: str | None = None,
    ) -> list[Line]:
        """Write a record. When this returns, it is on the disk; on an error nothing of it is.

        Args:
            kind: see `Line`.
            expression: see `Line`.
            start: first frame.
            stop: the one after the last.
            masks: for kinds that have any; asked for some frames at a time.
            run: see `Line`.

        Raises:
            OSError: as the system gives it.
        """
        bounds = [start, stop] if masks is None else [*range(start, stop, MASKS_A_LINE), stop]
        written: list[tuple[Line, int]] = []
        if not self.lines and not self.path.is_file():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            first = _text({"version": VERSION, **asdict(self.subject)})
            write_whole(self.path, first)
            self._size = len(first)
        with open(self.path, "rb+") as file:
            file.truncate(self._size)  # what a killed process left of a record
            file.seek(self._size)
            try:
                for number, (a, b) in enumerate(pairwise(bounds), start=len(self.lines) + 1):
                    line = Line(
                        number=number,
                        kind=kind,
                        expression=expression,
                        start=a,
                        stop=b,
                        run=run,
                        more=b < stop,
                        has_masks=masks is not None,
                    )
                    text = _text(asdict(line) | _packed(None if masks is None else masks(a, b)))
                    file.write(text)
                    written.append((line, len(text)))
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(self._size)
                raise
        for line, length in written:
            self._add(line, length)
        return [line for line, _ in written]

    def masks(self, line: Line) -> list[bytes]:
        """The run-length strings of a line.

        Raises:
            JournalError: the file was changed since it was read.
        """
        place, length = self._places[line.number - 1]
        with open_regular(self.path) as file:
            file.seek(place)
            text = file.read(length)
        try:
            return _unpacked(_tree(text), line, self.subject.size)
        except (ValueError, KeyError, TypeError, zlib.error, MaskInterchangeError) as error:
            raise JournalError(f"{self.path}: line {line.number + 1} was changed while it was in use") from error

    def _add(self, line: Line, length: int) -> None:
        self.lines.append(line)
        self._places.append((self._size, length))
        self._size += length

    def _read(self) -> None:
        with open_regular(self.path) as file:
            first = file.readline()
            self._check_subject(first)
            self._size = len(first)
            pending: list[tuple[Line, int]] = []  # lines of a record that is not complete yet
            fault: str | None = None
            for number, text in enumerate(file, start=1):
                if fault is not None:
                    raise JournalError(f"{self.path}: {fault}; restore the file from a copy, or move it away")
                try:
                    line = self._line(number, text)
                except (ValueError, KeyError, TypeError, zlib.error, MaskInterchangeError) as error:
                    fault = f"line {number + 1} is damaged ({error})"
                    continue
                pending.append((line, len(text)))
                if not line.more:
                    for one, length in pending:
                        self._add(one, length)
                    pending.clear()

    def _check_subject(self, text: bytes) -> None:
        try:
            tree = _tree(text)
            if tree.pop("version") != VERSION:
                raise JournalError(f"{self.path}: another version of this software wrote it")
            found = Subject(size=tuple(tree.pop("size")), **tree)
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{self.path}: not a journal of corrections: {error}") from error
        for name, ours in asdict(self.subject).items():
            if (theirs := getattr(found, name)) != ours:
                raise JournalError(
                    f"{self.path}: corrections of a video with {name} {theirs}, but the {name} here is {ours}; "
                    "give the data and the run that they were begun with, or move the file away"
                )

    def _line(self, number: int, text: bytes) -> Line:
        """A line of the file, checked with its masks."""
        tree = _tree(text)
        packed = {key: tree.pop(key) for key in ("lengths", "zlib")}
        line = Line(**tree)
        if line.number != number or line.kind not in KINDS or line.has_masks != (line.kind in WITH_MASKS):
            raise ValueError(f"unexpected {line.kind!r:.20}, number {line.number!r:.20}")
        if not 0 <= line.start <= line.stop <= self.subject.frames:
            raise ValueError(f"expected frames from 0 to {self.subject.frames}, found {line.start} to {line.stop}")
        if line.has_masks:
            _unpacked(packed, line, self.subject.size)
        return line


def _text(tree: Mapping[str, Any]) -> bytes:
    body = json.dumps(tree)[:-1].encode()
    return body + f', "crc": {zlib.crc32(body)}}}\n'.encode()


def _tree(text: bytes) -> dict[str, Any]:
    found = _LINE.fullmatch(text.removesuffix(b"\n"))
    if found is None or not text.endswith(b"\n") or zlib.crc32(found[1]) != int(found[2]):
        raise ValueError("its checksum is wrong")
    return json.loads(found[1] + b"}")


def _packed(masks: Sequence[bytes] | None) -> dict[str, object]:
    if masks is None:
        return {"lengths": None, "zlib": None}
    return {
        "lengths": [len(counts) for counts in masks],
        "zlib": base64.b64encode(zlib.compress(b"".join(masks), 1)).decode(),
    }


def _unpacked(packed: Mapping[str, Any], line: Line, size: Size) -> list[bytes]:
    joined = zlib.decompress(base64.b64decode(packed["zlib"]))
    ends = [0, *accumulate(packed["lengths"])]
    if len(ends) != line.stop - line.start + 1 or ends[-1] != len(joined):
        raise ValueError("numbers of masks differ")
    masks = [joined[a:b] for a, b in pairwise(ends)]
    check_masks(masks, size)
    return masks


def records(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Records: the lines that belong together."""
    record: list[Line] = []
    for line in lines:
        record.append(line)
        if not line.more:
            yield record
            record = []
