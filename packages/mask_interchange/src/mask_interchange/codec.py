"""The `.masks` file: all masks of one video. `docs/mask_format.md` is the definition; this is one reader and writer.

A fixed header, then a msgpack map. Nothing in a file is believed before it is checked. Memory grows with the bytes that
are really there, never with a number that a file declares, and what a file may hold is bounded by the video's size
(section 5 of the definition).
"""

import math
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import MaskError, MaskFileError
from mask_interchange.fields import MAX_UNPACKED, Budget, Fields
from mask_interchange.files import open_regular, write_whole
from mask_interchange.rle import MAX_PIXELS, MAX_SIDE, Size, longest_string
from mask_interchange.track import Expression, MaskTrack, VideoMasks, soft_size

MAGIC = b"\x89RVMASK\n"
VERSION = 1
MAX_PAYLOAD = 2**30
MAX_SOFT = MAX_UNPACKED // 8 * 7  # of these for soft masks, as `check_room` plans them
MAX_FRAMES = 2**18  # three hours
MAX_TRACKS = 2**14
SUFFIX = ".masks"

V = TypeVar("V")

_HEADER = struct.Struct("<8sHHIQ")  # magic, version, reserved, CRC-32 of the payload, length of the payload
_VIDEO_KEYS = ("video", "height", "width", "frames", "tracks")
_TRACK_KEYS = ("id", "text", "group", "masks", "scores", "key_frame", "support", "soft")
_MASKS_KEYS = ("lengths", "zlib")
_SOFT_KEYS = ("height", "width", "zlib")
_FAST = 1  # zlib level: run-length strings are dense already; the default took 2.6 times as long for 5 % less


def check_room(video: str, size: Size, frames: int, tracks: int, soft_masks: int | None = None) -> None:
    """Check, before a video is computed, that a file can hold its masks.

    Args:
        video: its id, for the message.
        size: (H, W) of its frames.
        frames: how many.
        tracks: of the file.
        soft_masks: longer side of the soft masks in pixels; None for none.

    Raises:
        MaskError: it cannot; says what to change.
    """
    for what, found, most in (("frames", frames, MAX_FRAMES), ("expressions", tracks, MAX_TRACKS)):
        if found > most:
            raise MaskError(f"video {video!r}: a file holds at most {most} {what}, found {found}; split the video")
    if soft_masks is None or (needed := frames * tracks * math.prod(soft_size(size, soft_masks))) <= MAX_SOFT:
        return
    fits = min(soft_masks, max(size))
    while fits > 0 and frames * tracks * math.prod(soft_size(size, fits)) > MAX_SOFT:
        fits -= 1
    remedy = f"give --soft-masks {fits} or less, or fewer expressions" if fits else "give no --soft-masks"
    raise MaskError(
        f"video {video!r}: soft masks of {frames} frames and {tracks} expressions take {needed} bytes, more than the "
        f"{MAX_SOFT} for which a file has room; {remedy}"
    )


def encode_video(masks: VideoMasks) -> bytes:
    """The bytes of a `.masks` file.

    Raises:
        MaskFileError: the masks are more than a file can hold.
    """
    for field, found, most in (
        ("frames", len(masks.frame_names), MAX_FRAMES),
        ("tracks", len(masks.tracks), MAX_TRACKS),
        ("bytes of masks", sum(map(_unpacked_size, masks.tracks)), MAX_UNPACKED),
    ):
        if found > most:
            raise MaskFileError(f"video {masks.video!r}", field, f"at most {most} in a file", str(found))
    pack_masks = cache(_pack_masks)  # fused tracks of one object share their masks
    payload = msgpack.Packer().pack(
        {
            "video": masks.video,
            "height": masks.size[0],
            "width": masks.size[1],
            "frames": list(masks.frame_names),
            "tracks": [_pack_track(track, pack_masks) for track in masks.tracks],
        }
    )
    if len(payload) > MAX_PAYLOAD:
        raise MaskFileError("<memory>", "payload", f"at most {MAX_PAYLOAD} bytes", f"{len(payload)} bytes")
    return _HEADER.pack(MAGIC, VERSION, 0, zlib.crc32(payload), len(payload)) + payload


def _unpacked_size(track: MaskTrack) -> int:
    soft = 0 if track.soft is None else track.soft.nbytes
    return sum(map(len, track.masks)) + sum(map(len, track.support or ())) + soft


def _pack_track(track: MaskTrack, pack_masks: Callable[[tuple[bytes, ...]], dict[str, bytes]]) -> dict[str, object]:
    return {
        "id": track.expression.id,
        "text": track.expression.text,
        "group": track.expression.group,
        "masks": pack_masks(track.masks),
        "scores": None if track.scores is None else track.scores.astype("<f4").tobytes(),
        "key_frame": track.key_frame,
        "support": None if track.support is None else pack_masks(track.support),
        "soft": None
        if track.soft is None
        else {
            "height": track.soft.shape[1],
            "width": track.soft.shape[2],
            "zlib": zlib.compress(track.soft.tobytes(), _FAST),
        },
    }


def _pack_masks(masks: tuple[bytes, ...]) -> dict[str, bytes]:
    lengths = np.array([len(counts) for counts in masks], "<u4")
    return {"lengths": lengths.tobytes(), "zlib": zlib.compress(b"".join(masks), _FAST)}


def decode_video(data: bytes, path: Path | str = "<memory>", *, keep_runs: bool = False) -> VideoMasks:
    """The content of a `.masks` file.

    Args:
        data: the whole file.
        path: where it came from, for messages.
        keep_runs: as in `MaskTrack`.

    Raises:
        MaskFileError: anything is not as the format says.
    """
    return _unpack_video(unpack_payload(data, path), keep_runs)


def unpack_payload(data: bytes, path: Path | str) -> Fields:
    """The map that a `.masks` file holds, its header and checksum verified, its fields not yet.

    Raises:
        MaskFileError: as `decode_video`.
    """
    _check_header(data[: _HEADER.size], len(data), path)
    payload = memoryview(data)[_HEADER.size :]
    if (found := zlib.crc32(payload)) != (expected := _HEADER.unpack_from(data)[3]):
        raise MaskFileError(
            path, "payload", f"CRC-32 {expected:08x} (the file is damaged; make it again)", f"{found:08x}"
        )
    try:
        tree = msgpack.unpackb(
            payload,
            max_ext_len=0,
            max_map_len=len(_TRACK_KEYS),
            max_array_len=MAX_FRAMES,
            strict_map_key=True,
            # One byte can be an empty array, which takes 64 bytes of memory.
            list_hook=_counted(4, "arrays"),  # two, and some in a wrong place, which a later message names
            object_hook=_counted(1 + 4 * MAX_TRACKS, "maps"),
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MaskFileError(path, "payload", "one msgpack map", f"{type(error).__name__}: {error}") from error
    return Fields(path, "", tree, _VIDEO_KEYS)


def _counted(most: int, what: str) -> Callable[[V], V]:
    """A function that lets `most` values through."""
    numbers = count(1)

    def let_through(value: V) -> V:
        if next(numbers) > most:
            raise ValueError(f"more than {most} {what}")
        return value

    return let_through


def _check_header(header: bytes, size: int, path: Path | str) -> None:
    """Check the fixed header of a file of `size` bytes."""
    if len(header) < _HEADER.size:
        raise MaskFileError(path, "header", f"{_HEADER.size} bytes", f"{len(header)}")
    magic, version, reserved, _, length = _HEADER.unpack(header)
    if magic != MAGIC:
        raise MaskFileError(path, "magic", f"{MAGIC!r}, the start of a mask file", repr(magic))
    if version != VERSION:
        raise MaskFileError(path, "version", f"{VERSION}; a newer program wrote the file", str(version))
    if reserved != 0:
        raise MaskFileError(path, "reserved", "0", str(reserved))
    if length > MAX_PAYLOAD:
        raise MaskFileError(path, "payload length", f"at most {MAX_PAYLOAD}", str(length))
    if length != size - _HEADER.size:
        raise MaskFileError(
            path, "payload length", f"{length} bytes after the header (is the file cut off?)", str(size - _HEADER.size)
        )


def _unpack_video(fields: Fields, keep_runs: bool) -> VideoMasks:
    size, frame_names, tracks = unpack_frame(fields)
    budget = Budget(MAX_UNPACKED)
    return fields.made(
        VideoMasks,
        video=fields.text("video"),
        size=size,
        frame_names=frame_names,
        tracks=tuple(_unpack_track(track, len(frame_names), size, budget, keep_runs) for track in tracks),
    )


def unpack_frame(fields: Fields) -> tuple[Size, tuple[str, ...], list[Fields]]:
    """What is around the masks of a file: their size, the names of the frames, and the maps of the tracks."""
    size = fields.integer("height", 1, MAX_SIDE), fields.integer("width", 1, MAX_SIDE)
    if size[0] * size[1] > MAX_PIXELS:
        raise fields.fault("width", f"at most {MAX_PIXELS} pixels in all", f"{size[0]} x {size[1]}")
    frame_names = fields.texts("frames")
    if (n_tracks := len(fields.typed("tracks", list))) > MAX_TRACKS:
        raise fields.fault("tracks", f"at most {MAX_TRACKS}", str(n_tracks))
    return size, frame_names, [fields.inner_at("tracks", i, _TRACK_KEYS) for i in range(n_tracks)]


def unpack_expression(fields: Fields) -> Expression:
    """Whose track it is."""
    return fields.made(
        Expression,
        id=fields.text("id"),
        text=fields.maybe("text", fields.text),
        group=fields.maybe("group", fields.text),
    )


def unpack_scores(fields: Fields, n_frames: int) -> tuple[NDArray[np.float32] | None, int | None]:
    """A track's scores float32 [T] and its key frame."""
    scores = fields.maybe("scores", lambda key: fields.numbers(key, n_frames, "<f4"))
    return scores, fields.maybe("key_frame", lambda key: fields.integer(key, 0, n_frames - 1))


def _unpack_track(fields: Fields, n_frames: int, size: Size, budget: Budget, keep_runs: bool) -> MaskTrack:
    expression = unpack_expression(fields)
    masks = _unpack_masks(fields, "masks", n_frames, size, budget)
    scores, key_frame = unpack_scores(fields, n_frames)
    return fields.made(
        MaskTrack,
        expression=expression,
        size=size,
        masks=masks,
        scores=scores,
        key_frame=key_frame,
        support=fields.maybe("support", lambda key: _unpack_masks(fields, key, n_frames, size, budget)),
        soft=fields.maybe("soft", lambda key: _unpack_soft(fields.inner(key, _SOFT_KEYS), n_frames, size, budget)),
        keep_runs=keep_runs,
    )


def _unpack_masks(fields: Fields, key: str, n_frames: int, size: Size, budget: Budget) -> tuple[bytes, ...]:
    joined, ends = unpack_strings(fields, key, n_frames, size, budget)
    return tuple(bytes(joined[a:b]) for a, b in pairwise([0, *ends.tolist()]))


def unpack_strings(
    fields: Fields, key: str, n_frames: int, size: Size, budget: Budget
) -> tuple[memoryview, NDArray[np.int64]]:
    """The run-length strings of packed masks, one after another, and where each of them ends, int64 [T]."""
    packed = fields.inner(key, _MASKS_KEYS)
    lengths = packed.numbers("lengths", n_frames, "<u4")
    if (longest := int(lengths.max(initial=0))) > longest_string(size):
        most = f"at most {longest_string(size)} bytes for a mask of {size[0]}x{size[1]} pixels"
        raise packed.fault("lengths", most, str(longest))
    ends = np.cumsum(lengths, dtype=np.int64)
    return memoryview(packed.unpacked("zlib", int(ends[-1]) if len(ends) else 0, budget)), ends


def _unpack_soft(fields: "Fields", n_frames: int, size: Size, budget: "Budget") -> NDArray[np.uint8]:
    height, width = fields.integer("height", 1, size[0]), fields.integer("width", 1, size[1])
    raw = fields.unpacked("zlib", n_frames * height * width, budget)
    soft = np.frombuffer(raw, np.uint8).reshape(n_frames, height, width)
    soft.setflags(write=False)  # so that the track takes it without a copy
    return soft


def read_masks(path: Path | str) -> VideoMasks:
    """Read a `.masks` file.

    Raises:
        MaskFileError: the file is absent, unreadable or not as the format says.
    """
    return decode_video(read_file(path), path)


def read_file(path: Path | str) -> bytes:
    """The bytes of a `.masks` file, whose header is checked before the rest is read.

    Raises:
        MaskFileError: as `read_masks`.
    """
    try:
        with open_regular(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            header = file.read(_HEADER.size)
            _check_header(header, size, path)
            file.seek(0)
            return file.read(size)
    except OSError as error:
        raise MaskFileError(path, "file", "a readable file", error.strerror or str(error)) from error


def write_masks(path: Path | str, masks: VideoMasks) -> None:
    """Write a `.masks` file whole or not at all.

    Raises:
        OSError: as the system gives it (disk full, no permission); nothing is left behind.
    """
    write_whole(Path(path), encode_video(masks))
