"""What the first pass over a video file sees, frame by frame; of use while it grows, and kept on disk if one wants."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Literal

import av

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.files import write_whole
from mask_interchange.rle import Size, check_size
from mask_interchange.video_stream import Damage, Threads, checksum, decoded, opened, orientation, shown_size

Damaged = Literal["stop", "skip"]


class VideoIndex:
    """The frames of a file, as far as they are known. Several threads may read it and let it grow.

    Attributes:
        stamps: time stamp of each frame, in ticks.
        checksums: of each frame as it is stored.
        key_frames: numbers of the frames to which a decoder can seek.
        unreachable: those of them to which seeking turned out to lead somewhere else.
        tick: seconds of a time stamp's unit; None before the first frame, and where the file does not say it.
        size: (H, W) after rotation; None before the first frame.
        pixel_aspect: width of a pixel, divided by its height, after rotation.
        damage: what is damaged or missing, in words; known at the end.
        is_complete: whether all frames are known.
        threads: those of a decoder, see `video_stream.opened`.
    """

    def __init__(self, path: Path, damaged: Damaged):
        self.stamps: list[int | None] = []
        self.checksums: list[int] = []
        self.key_frames: list[int] = []
        self.unreachable: set[int] = set()
        self.tick: Fraction | None = None
        self.size: Size | None = None
        self.pixel_aspect = Fraction(1)
        self.damage: str | None = None
        self.is_complete = False
        self.threads: Threads = "SLICE" if damaged == "skip" else "AUTO"
        self._path = path
        self._damaged: Damaged = damaged
        self._file: Path | None = None
        self._steps = self._first_pass()
        self._failure: str | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.stamps)

    def agrees(self, i: int, frame: av.VideoFrame) -> bool:
        """Whether a frame is the one that the first pass saw as frame `i`."""
        return checksum(frame) == self.checksums[i]

    def grow(self, frames: int | None = None) -> "VideoIndex":
        """Read on until so many frames are known, or all; returns the index itself.

        Raises:
            DatasetError: the file cannot be decoded, frames differ in size, or something is missing.
        """
        while not self.is_complete and (frames is None or len(self) < frames):
            with self._lock:
                if self._failure is not None:
                    raise DatasetError(self._failure)
                try:
                    next(self._steps, None)
                except DatasetError as error:
                    self._failure = str(error)
                    raise
                except Exception as error:  # nothing follows it: another call would wait for ever
                    self._failure = f"{self._path}: cannot be read: {error!r}"
                    raise DatasetError(self._failure) from error
        return self

    def keep_in(self, folder: Path) -> None:
        """Take the index from this folder if it is there and the video is as it was; else put it there when complete.

        A file is known by its path, size and time of change. Frames that are read later are compared with the
        checksums of the index, so an index that is wrong all the same shows no wrong frame.
        """
        state = self._path.stat()
        known_by = [str(self._path.resolve()), state.st_size, state.st_mtime_ns, self._damaged, av.__version__]
        self._file = folder / (hashlib.sha256(json.dumps(known_by).encode()).hexdigest() + ".json")
        with suppress(OSError, ArithmeticError, ValueError, TypeError, KeyError, RecursionError, MaskInterchangeError):
            self._take(json.loads(self._file.read_bytes()))

    def _first_pass(self) -> Iterator[int]:
        """Notes one frame after another; yields their numbers."""
        damage = Damage()
        for i, frame in enumerate(decoded(self._path, damage, self.threads)):
            self.tick = frame.time_base
            shown = shown_size(frame)
            if self.size is None:
                self.size = self._sound_size(shown)
                self.pixel_aspect = self._aspect(transposed=orientation(frame).transposed)
            check_same_size(self._path, shown, self.size, i)
            self.checksums.append(checksum(frame))
            if frame.key_frame and frame.pts is not None:
                self.key_frames.append(i)
            self.stamps.append(frame.pts)  # last: it makes the frame known
            yield i
        if self.size is None:
            raise DatasetError(f"{self._path}: no frame could be decoded; is the file complete?")
        self.damage = damage.described(len(self))
        if self.damage and self._damaged == "stop":
            raise DatasetError(f"{self._path}: {self.damage}; restore the file, or go on without them: --damaged skip")
        self.is_complete = True
        if self._file is not None:
            with suppress(OSError):  # it only saves time
                self._file.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self._file, json.dumps(self._content()).encode())

    def _content(self) -> dict[str, object]:
        return {
            "stamps": self.stamps,
            "checksums": self.checksums,
            "key_frames": self.key_frames,
            "tick": None if self.tick is None else str(self.tick),
            "size": self.size,
            "pixel_aspect": str(self.pixel_aspect),
            "damage": self.damage,
        }

    def _take(self, content: dict) -> None:
        """Take over what `_content` gave; on any error nothing has changed."""
        stamps = [None if stamp is None else int(stamp) for stamp in content["stamps"]]
        checksums, key_frames = ([int(one) for one in content[key]] for key in ("checksums", "key_frames"))
        if not len(stamps) == len(checksums) > 0 or not set(key_frames) <= set(range(len(stamps))):
            raise ValueError("numbers of frames differ")
        tick = None if content["tick"] is None else Fraction(content["tick"])
        size, aspect = check_size(tuple(content["size"])), Fraction(content["pixel_aspect"])
        damage = None if content["damage"] is None else str(content["damage"])
        self.stamps, self.checksums, self.key_frames = stamps, checksums, sorted(key_frames)
        self.tick, self.size, self.pixel_aspect, self.damage = tick, size, aspect, damage
        self.is_complete = True

    def _aspect(self, *, transposed: bool) -> Fraction:
        with opened(self._path) as (_, stream):
            aspect = stream.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if transposed else aspect

    def _sound_size(self, size: Size) -> Size:
        try:
            return check_size(size)
        except MaskInterchangeError as error:
            raise DatasetError(f"{self._path}: {error}") from error


def check_same_size(path: Path, size: Size, expected: Size, i: int) -> None:
    """Raise DatasetError unless frame `i` has the size of the first one."""
    if size != expected:
        raise DatasetError(
            f"{path}: expected {expected[1]}x{expected[0]} pixels as in the first frame, found "
            f"{size[1]}x{size[0]} in frame {i}; all frames of a video must have one size"
        )
