"""What to segment: data sets as they were downloaded.

Opening reads names and expressions only; frames are read on demand. So a data set of any size opens in moments, and one
broken video does not stop the others.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mask_interchange.dataset_formats import describe_file, find_split
from mask_interchange.dataset_formats.description import DescribedVideo, FaultyVideo, Videos
from mask_interchange.errors import DataNameError, DatasetError, MaskInterchangeError
from mask_interchange.faults import Fault, FaultKind
from mask_interchange.ground_truth import GroundTruth
from mask_interchange.names import check_name, file_key
from mask_interchange.video import Video


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
        truth: masks, if it brings any.
        has_sentences: whether a video without expressions is a fault.
    """

    name: str
    root: Path | None
    split: str | None
    videos: Mapping[str, Video]
    fingerprint: str
    truth: GroundTruth | None = None
    has_sentences: bool = True

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
        if self.has_sentences and not video.expressions:
            faults.append(Fault(kind=FaultKind.NO_EXPRESSIONS, message=f"video {name!r}: has no expressions"))
        return faults


def open_dataset(root: Path | str, split: str | None = None) -> Dataset:
    """Open a data set of any format that `dataset_formats` knows.

    Args:
        root: the folder of the data set, or the JSON file that describes it.
        split: of the data set; may be omitted if there is only one.

    Raises:
        DatasetError: the files are not as described; says which file and where in it.
    """
    root = Path(root)
    has_sentences = True
    if root.is_dir():
        found, split, read = find_split(root, split)
        has_sentences, described = found.has_sentences, read()
    elif root.is_file() and root.suffix == ".json":
        if split is not None:
            raise DatasetError(f"{root}: a file describes one split; omit --split")
        described = describe_file(root)
    else:
        found = "a file" if root.exists() else f"nothing{if_address(root)}"
        raise DatasetError(f"{root}: expected a data set's folder, found {found}")
    videos = _with_sound_names(root, described.videos)
    targets = {video: entry.targets for video, entry in videos.items() if isinstance(entry, DescribedVideo)}
    return Dataset(
        name=root.resolve().name,
        root=root,
        split=split,
        videos=_Videos({video: partial(entry.open, video) for video, entry in videos.items()}),
        fingerprint=digest([[video, *entry.content()] for video, entry in videos.items()]),
        truth=None if described.truth is None else GroundTruth(path=described.truth, targets=targets),
        has_sentences=has_sentences,
    )


def _with_sound_names(root: Path, videos: Videos) -> Videos:
    """The same videos; one whose name is no file name, or one with an earlier name on some system, is faulty."""
    first: dict[str, str] = {}
    checked: dict[str, DescribedVideo | FaultyVideo] = {}
    for name, entry in videos.items():
        checked[name] = entry
        if isinstance(entry, DescribedVideo) and (problem := _name_problem(name, first)):
            checked[name] = FaultyVideo(DatasetError(f"{root}: {problem}"), entry.content())
    return checked


def _name_problem(name: str, first: dict[str, str]) -> str | None:
    """What is wrong with the name of a video; `first` has the first name for each file name, and gets this one."""
    try:
        check_name("video", name)
    except DataNameError as error:
        return str(error)
    twin = first.setdefault(file_key(name), name)
    return None if twin == name else f"video ids {twin!r} and {name!r} are one file name on some systems; rename one"


def if_address(path: Path) -> str:
    """Advice for whoever gives an address of the web, `https://...`, for a path."""
    is_address = re.match(r"[a-z]{2,}:[/\\]", str(path), re.IGNORECASE)
    return "; this is an address: download what is there, and give its path" if is_address else ""


def digest(content: object) -> str:
    """SHA-256 of JSON content, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
