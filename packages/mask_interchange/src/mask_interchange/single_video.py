"""What to segment in a video of one's own: one file, or one folder of frames, and expressions."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mask_interchange.dataset import Dataset, digest, if_address
from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.frame_folder import FrameFolder
from mask_interchange.json_files import read_utf8
from mask_interchange.names import MAX_NAME_BYTES, UNSAFE_CHARACTERS, is_name
from mask_interchange.track import Expression
from mask_interchange.video import FrameSource, Video


def open_video(
    path: Path | str, expressions: str | Sequence[str] = (), damaged: Literal["stop", "skip"] = "stop"
) -> Dataset:
    """A data set of one video: a file that FFmpeg reads, or a folder of frames (JPEG, PNG; natural order of the names).

    Args:
        path: the file or folder. Every frame of a file is kept and its rotation applied.
        expressions: one text or several; they get the ids "0", "1", ...
        damaged: whether a file with damaged or missing packets is an error, or gives the frames that FFmpeg decodes.

    Raises:
        DatasetError: there is nothing to read at `path`, or an expression is blank.
    """
    path = Path(path)
    texts = [expressions] if isinstance(expressions, str) else expressions
    if path.is_dir():
        source: FrameSource = FrameFolder.of(path)
    elif path.is_file():
        from mask_interchange.video_file import VideoFile

        source = VideoFile(path, damaged)
    else:
        raise DatasetError(f"{path}: no such video file or folder of frames{if_address(path)}")
    video = _safe_name(path.resolve().name if path.is_dir() else path.stem)
    try:
        made = Video(
            id=video,
            expressions=tuple(Expression(id=str(i), text=text) for i, text in enumerate(texts)),
            source=source,
        )
    except MaskInterchangeError as error:
        raise DatasetError(f"{path}: {error}") from error
    return Dataset(
        name=video,
        root=path,
        split=None,
        videos={video: made},
        fingerprint=digest([video, source.fingerprint(), list(expressions)]),
    )


def read_expressions(path: Path | str) -> list[str]:
    """Expressions of a UTF-8 text file, one a line.

    Raises:
        DatasetError: the file cannot be read, is not UTF-8 (names the byte) or has a blank line.
    """
    # Only line feeds end a line: splitlines also splits at characters that expressions contain, such as U+2028.
    lines = read_utf8(Path(path)).removesuffix("\n").split("\n")
    if lines == [""]:
        raise DatasetError(f"{path}: expected one expression a line, found an empty file")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DatasetError(f"{path}: line {number}: expected an expression, found a blank line")
    return [line.strip() for line in lines]


def _safe_name(name: str) -> str:
    """A video id for a file or folder that may be called anything."""
    safe = re.sub(UNSAFE_CHARACTERS, "_", name).lstrip(".")
    safe = safe.encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(". ")
    return safe if is_name(safe) else f"video_{safe}".removesuffix("_")
