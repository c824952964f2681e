"""What to segment: data sets in the Ref-YouTube-VOS layout, one video file, or one folder of frames.

Opening reads names and expressions only; frames are read on demand. So a data set of any size opens in moments, and one
broken video does not stop the others.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.faults import Fault, FaultKind
from mask_interchange.frame_folder import FrameFolder
from mask_interchange.json_files import JsonPlace, read_json, read_utf8
from mask_interchange.names import MAX_NAME_BYTES, UNSAFE_CHARACTERS, check_name, is_name
from mask_interchange.track import Expression, check_unique
from mask_interchange.video import FrameSource, Video

META = "meta_expressions"


class _Videos(Mapping[str, Video]):
    """Makes videos on demand, so that a fault in one video is raised where that video is processed."""

    def __init__(self, makers: Mapping[str, Callable[[], Video]]):
        self._makers = makers

    def __getitem__(self, video: str) -> Video:
        make = self._makers[video]
        try:
            return make()
        except DatasetError:
            raise
        except MaskInterchangeError as error:
            raise DatasetError(f"video {video!r}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, video: object) -> bool:
        return video in self._makers


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Videos in reading order.

    Attributes:
        name: for display; the root folder's or the video's name.
        root: the folder it was read from.
        split: of the release, or None.
        videos: by id, in reading order. Looking up a video whose description is faulty (no frames, a blank expression)
            raises DatasetError; ids and the other videos remain usable.
        fingerprint: SHA-256 over ids, frame names and expressions (for a single video over the pixels' files as well).
    """

    name: str
    root: Path | None
    split: str | None
    videos: Mapping[str, Video]
    fingerprint: str

    @property
    def identity(self) -> dict[str, str | None]:
        """What a run's manifest says of the data set."""
        return {"name": self.name, "split": self.split, "fingerprint": self.fingerprint}

    def check(self) -> list[Fault]:
        """Every fault of every video; empty if all is well. Reads all image headers."""
        return [fault for video in self.videos for fault in self.check_video(video)]

    def check_video(self, name: str, *, decode: bool = False) -> list[Fault]:
        """Every fault of a video; `decode` as in `Video.check`."""
        try:
            video = self.videos[name]
        except DatasetError as error:
            return [Fault(kind=FaultKind.ENTRY, message=str(error))]
        faults = video.check(decode=decode)
        if not video.expressions:
            faults.append(Fault(kind=FaultKind.NO_EXPRESSIONS, message=f"video {name!r}: has no expressions"))
        return faults


def open_dataset(root: Path | str, split: str | None = None) -> Dataset:
    """Open a data set in the Ref-YouTube-VOS layout.

    Args:
        root: the folder of the release (`meta_expressions/<split>/meta_expressions.json` and
            `<split>/JPEGImages/<video>/<frame>.jpg`), or of the flat form (`meta_expressions.json` and `JPEGImages`).
        split: of the release; may be omitted if there is only one. The file of `valid` lists the test videos too:
            when the test file is present, `valid` means the videos that it does not list. Frames of test videos are
            looked for in `test` and in `valid`.

    Raises:
        DatasetError: the files are not as described; says which file and where in it.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else f"nothing{_if_address(root)}"
        raise DatasetError(f"{root}: expected a data set's folder, found {found}")
    meta, split = _find_meta(root, split)
    described = _read_meta(meta)
    if split is None:
        image_folders = [root / "JPEGImages"]
    else:
        image_folders = [root / split / "JPEGImages"]
        if split == "test":
            image_folders.append(root / "valid" / "JPEGImages")
        other = root / META / "test" / f"{META}.json"
        if split == "valid" and other.is_file():
            test = _read_meta(other).keys()
            described = {video: entry for video, entry in described.items() if video not in test}
    return Dataset(
        name=root.resolve().name,
        root=root,
        split=split,
        videos=_Videos({video: entry.maker(video, image_folders) for video, entry in described.items()}),
        fingerprint=_digest([[video, *entry.content()] for video, entry in described.items()]),
    )


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
        raise DatasetError(f"{path}: no such video file or folder of frames{_if_address(path)}")
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
        fingerprint=_digest([video, source.fingerprint(), list(expressions)]),
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


def _if_address(path: Path) -> str:
    """Advice for whoever gives an address of the web, `https://...`, for a path."""
    is_address = re.match(r"[a-z]{2,}:[/\\]", str(path), re.IGNORECASE)
    return "; this is an address: download what is there, and give its path" if is_address else ""


def _safe_name(name: str) -> str:
    """A video id for a file or folder that may be called anything."""
    safe = re.sub(UNSAFE_CHARACTERS, "_", name).lstrip(".")
    safe = safe.encode(errors="replace")[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(". ")
    return safe if is_name(safe) else f"video_{safe}".removesuffix("_")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


# --- the release's JSON ---------------------------------------------------------------------------------------------


def _find_meta(root: Path, split: str | None) -> tuple[Path, str | None]:
    """The description's file, and the split that it describes (None for the flat form)."""
    flat = root / f"{META}.json"
    splits = sorted(file.parent.name for file in root.glob(f"{META}/*/{META}.json"))
    if flat.is_file():
        if split is not None:
            raise DatasetError(f"{root}: has no splits (its {META}.json stands at the top); omit --split")
        return flat, None
    if not splits:
        raise DatasetError(
            f"{root}: expected {META}.json or {META}/<split>/{META}.json of the Ref-YouTube-VOS layout, found neither"
        )
    if split is None and len(splits) > 1:
        raise DatasetError(f"{root}: has several splits; choose one with --split: {', '.join(splits)}")
    chosen = split or splits[0]
    if chosen not in splits:
        raise DatasetError(f"{root}: no split {chosen!r}, only {', '.join(splits)}")
    return root / META / chosen / f"{META}.json", chosen


@dataclass(frozen=True, slots=True)
class _Faulty:
    """One video's entry in the JSON that breaks the layout: its video fails, the others do not."""

    fault: DatasetError
    entry: object

    def content(self) -> list[object]:
        return ["faulty", self.entry]

    def maker(self, video: str, image_folders: Sequence[Path]) -> Callable[[], Video]:
        def make() -> Video:
            raise self.fault

        return make


@dataclass(frozen=True, slots=True)
class _Described:
    """One video's entry in the JSON, its structure checked."""

    frame_names: tuple[str, ...]
    expressions: tuple[tuple[str, str, str | None], ...]  # id, text, group

    def content(self) -> list[object]:
        return [self.frame_names, self.expressions]

    def maker(self, video: str, image_folders: Sequence[Path]) -> Callable[[], Video]:
        def make() -> Video:
            check_unique("frame", self.frame_names)
            folder = next((f / video for f in image_folders if (f / video).is_dir()), image_folders[0] / video)
            return Video(
                id=video,
                expressions=tuple(Expression(id=i, text=text, group=group) for i, text, group in self.expressions),
                source=FrameFolder(folder, self.frame_names),
            )

        return make


def _read_meta(file: Path) -> dict[str, _Described | _Faulty]:
    at, tree = read_json(file)
    videos = at.get(tree, "videos", dict)
    described: dict[str, _Described | _Faulty] = {}
    try:
        check_unique("video", tuple(videos))
    except MaskInterchangeError as error:
        raise DatasetError(f"{at / 'videos'}: {error}") from error
    for video, entry in videos.items():
        place = at / "videos" / video
        try:
            described[video] = _described(place, entry)
        except DatasetError as error:
            described[video] = _Faulty(error, entry)
        except MaskInterchangeError as error:
            described[video] = _Faulty(DatasetError(f"{place}: {error}"), entry)
    return described


def _described(at: "JsonPlace", entry: object) -> _Described:
    names = at.get(entry, "frames", list)
    expressions = []
    for number, expression in at.get(entry, "expressions", dict).items():
        place = at / "expressions" / number
        group = expression.get("obj_id") if isinstance(expression, dict) else None
        expressions.append((check_name("expression", number), place.get(expression, "exp", str), _group(place, group)))
    return _Described(tuple(check_name("frame", name) for name in names), tuple(expressions))


def _group(at: "JsonPlace", value: object) -> str | None:
    """An object id as text; several objects (MeViS describes groups) are joined by `+`. None where there is none."""
    if value is None or value == []:
        return None
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(i, int | str) and not isinstance(i, bool) for i in ids):
        raise DatasetError(f"{at / 'obj_id'}: expected a number, text or a list of them, found {value!r:.80}")
    return "+".join(str(i) for i in ids)
