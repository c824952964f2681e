"""A run: the folder that one producer writes, one `.masks` file per video beside a manifest.

runs/soc/run.json             who made it, of what, with which weights and settings
runs/soc/videos/dog.masks     written whole or not at all; a file means that the video is finished
runs/soc/records/dog.json     what these masks were made from; written by whoever writes them
runs/soc/.lock                held while somebody writes
runs/soc/**/.writing-*        what is being written
"""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Self

from mask_interchange.codec import SUFFIX, decode_video, encode_video, read_file, read_masks
from mask_interchange.dataset import Dataset
from mask_interchange.differences import dataset_difference, difference
from mask_interchange.errors import MaskFileError, MaskInterchangeError, RunBusyError, RunError
from mask_interchange.files import (
    TEMPORARY_PREFIX,
    file_sha256,
    lock_folder,
    open_regular,
    remove_abandoned,
    write_whole,
)
from mask_interchange.json_files import parse_json
from mask_interchange.lazy_masks import LazyMasks, open_masks
from mask_interchange.made_of import MadeOf, read_record, write_record
from mask_interchange.names import check_name, is_name, natural_key
from mask_interchange.track import VideoMasks

FORMAT_VERSION = 1
MAX_MANIFEST = 2**20
_OWN_NAMES = {"run.json", "videos", "records", ".lock"}
_CREATE_PATIENCE = 5.0  # seconds to wait for another process that is just creating the same run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """What a run was made of; two runs with equal manifests may be continued by one another.

    Attributes:
        producer: name of the program.
        producer_version: its version.
        checkpoint_sha256: of the weights file, 64 lower-case hexadecimal digits; None when no file was used. Of several
            files as docs/mask_format.md says.
        settings: everything else that changes the masks, as JSON values.
        dataset: name, split and fingerprint of what was processed; the last two may be None.
    """

    producer: str
    producer_version: str
    checkpoint_sha256: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    dataset: Mapping[str, str | None]

    def __post_init__(self):
        if set(self.dataset) != {"name", "split", "fingerprint"}:
            raise RunError(f"manifest: dataset must have name, split and fingerprint, found {sorted(self.dataset)}")
        for key, value in self.dataset.items():
            if not isinstance(value, str) and (value is not None or key == "name"):
                raise RunError(f"manifest: dataset.{key} must be text, found {value!r:.80}")
        sha = self.checkpoint_sha256
        if sha is not None and (len(sha) != 64 or set(sha) - set("0123456789abcdef")):
            raise RunError(f"manifest: checkpoint_sha256 must be 64 hexadecimal digits, found {sha!r:.80}")
        try:
            # Through JSON and back, so that a manifest just made equals the one read later (tuples become lists).
            object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings), allow_nan=False)))
        except (TypeError, ValueError, RecursionError) as error:
            raise RunError(f"manifest: settings must be JSON values: {error}") from error
        object.__setattr__(self, "dataset", dict(self.dataset))

    def to_json(self) -> str:
        """The text of `run.json`."""
        # ASCII: a path from a file system may hold what UTF-8 cannot.
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @property
    def sha256(self) -> str:
        """SHA-256 of the text of `run.json`, in hexadecimal."""
        return sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: bytes, path: Path | str) -> Self:
        """The manifest in the text of a `run.json`.

        Raises:
            RunError: names `path` and what is wrong.
        """
        try:
            tree = parse_json(text.decode())
        except ValueError as error:
            raise RunError(f"{path}: not a run's manifest: {error}") from error
        if not isinstance(tree, dict):
            raise RunError(f"{path}: expected a JSON object, found {type(tree).__name__}")
        if tree.get("format_version") != FORMAT_VERSION:
            raise RunError(
                f"{path}: expected format_version {FORMAT_VERSION}, found {tree.get('format_version')!r:.80}; "
                "another version of this software wrote the run"
            )
        types: dict[str, type | tuple[type, ...]] = {
            "producer": str,
            "producer_version": str,
            "checkpoint_sha256": (str, type(None)),
            "settings": dict,
            "dataset": dict,
        }
        if tree.keys() != {"format_version", *types}:
            raise RunError(
                f"{path}: expected the keys format_version, {', '.join(types)}, found {', '.join(tree):.200}"
            )
        for key, kind in types.items():
            if not isinstance(tree[key], kind):
                raise RunError(f"{path}: {key}: expected {kind}, found {tree[key]!r:.80}")
        del tree["format_version"]
        try:
            return cls(**tree)
        except RunError as error:
            raise RunError(f"{path}: {error}") from error

    def difference(self, other: "RunManifest") -> str | None:
        """The first value in which the manifest that is wanted, `other`, differs, in words; None if they are equal."""
        return difference(asdict(self), asdict(other))


class MaskRun:
    """One producer's folder of masks. Opening reads the manifest only; videos are read when asked for.

    Attributes:
        path: the folder.
        manifest: what the run was made of.
    """

    def __init__(self, path: Path, manifest: RunManifest):
        self.path = path
        self.manifest = manifest
        self._writing = False

    def __repr__(self) -> str:
        return f"MaskRun({str(self.path)!r})"

    @property
    def name(self) -> str:
        """The folder's name, by which members of a vote are known."""
        return self.path.resolve().name

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run for reading; it may be unfinished.

        Raises:
            RunError: there is no run, or its manifest is not sound.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        if manifest is None:
            reason = "the folder holds no run.json" if path.is_dir() else "there is no such folder"
            raise RunError(f"{path}: not a run: {reason}")
        return cls(path, manifest)

    @classmethod
    def create(cls, path: Path | str, manifest: RunManifest, dataset: Dataset | None = None) -> Self:
        """Start a run, or continue one that was started with an equal manifest. A run without masks is started anew.

        Args:
            path: the folder.
            manifest: what the masks will be made of.
            dataset: that of the manifest, to tell how it differs from an earlier one.

        Raises:
            RunError: the folder holds masks of another manifest (says what differs), or other files.
            RunBusyError: another process writes a run with another manifest there.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise RunError(f"{path}: expected a folder or nothing, found a file") from error
        deadline = time.monotonic() + _CREATE_PATIENCE
        while (there := _read_manifest(path)) != manifest:
            if there is not None:
                _check_is_empty(cls(path, there), manifest, dataset)
            try:
                with lock_folder(path, shared=False):
                    if _read_manifest(path) == there:
                        _start(path, manifest)
            except RunBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        (path / "videos").mkdir(exist_ok=True)
        return cls(path, manifest)

    def remove_if_empty(self) -> None:
        """Remove a run that has no masks; nothing happens if it has some, or if another process writes it."""
        with suppress(RunError, OSError), self.writing():
            if not self.videos() and {one.name for one in self.path.iterdir()} <= _OWN_NAMES:
                shutil.rmtree(self.path)

    def videos(self) -> list[str]:
        """Ids of the finished videos, in natural order."""
        folder = self.path / "videos"
        if not folder.is_dir():
            return []
        names = (file.name.removesuffix(SUFFIX) for file in folder.iterdir() if file.name.endswith(SUFFIX))
        return sorted(filter(is_name, names), key=natural_key)

    def has(self, video: str) -> bool:
        """Whether the video is finished; what cannot be the name of a video is not."""
        return is_name(video) and self._file(video).is_file()

    def missing(self, videos: Iterable[str]) -> list[str]:
        """Those of `videos` that are not finished, in the order given."""
        return [video for video in videos if not self.has(video)]

    def sound_videos(self) -> Iterator[VideoMasks]:
        """The masks of all videos, one video at a time, without those that are damaged."""
        for video in self.videos():
            with suppress(MaskInterchangeError):
                yield self.read(video)

    def read(self, video: str) -> VideoMasks:
        """The masks of a finished video.

        Raises:
            RunError: the video is not in the run.
            MaskFileError: its file is not sound, or is another video's.
        """
        path = self._finished(video)
        masks = read_masks(path)
        _check_video(path, masks.video, video)
        return masks

    def read_hashed(self, video: str) -> tuple[VideoMasks, str]:
        """As `read`, with run lengths kept, and the SHA-256 of the bytes that were read."""
        path = self._finished(video)
        data = read_file(path)
        masks = decode_video(data, path, keep_runs=True)
        _check_video(path, masks.video, video)
        return masks, sha256(data).hexdigest()

    def open_video(self, video: str) -> LazyMasks:
        """As `read`, but masks are checked and decoded one by one, when asked for: to look at a few of them."""
        path = self._finished(video)
        masks = open_masks(path)
        _check_video(path, masks.video, video)
        return masks

    def sha256(self, video: str) -> str | None:
        """SHA-256 of a video's file, in hexadecimal; None if the video is not finished."""
        try:
            return file_sha256(self._file(video)) if is_name(video) else None
        except FileNotFoundError:
            return None

    def made_of(self, video: str) -> MadeOf | None:
        """What the masks of a video were made from; None if they are not there, or nobody has recorded it."""
        return read_record(self._record(video), self._file(video)) if is_name(video) else None

    def write(self, masks: VideoMasks, made_of: MadeOf | None = None) -> None:
        """Write a video's masks, whole or not at all. Outside `writing` the run is locked for this one call.

        Args:
            masks: of one video.
            made_of: what they were made from, if that is known; it counts for these very masks and no others.

        Raises:
            RunBusyError: another process writes the run.
            OSError: as the system gives it; nothing is left behind.
        """
        if not self._writing:
            with self.writing():
                return self.write(masks, made_of)
        data = encode_video(masks)
        if made_of is not None:
            write_record(self._record(masks.video), sha256(data).hexdigest(), made_of)
        write_whole(self._file(masks.video), data)

    def record(self, video: str, made_of: MadeOf) -> None:
        """Record what a finished video was made from, for a program that does not do so itself.

        Raises:
            OSError: the masks are not there, or as the system gives it.
        """
        write_record(self._record(video), file_sha256(self._file(video)), made_of)

    @contextmanager
    def writing(self, *, shared: bool = False) -> Iterator[Self]:
        """Hold the run's lock while writing.

        Args:
            shared: let other shared writers in: workers that were given different videos.

        Raises:
            RunBusyError: somebody else holds the lock.
        """
        with lock_folder(self.path, shared=shared):
            folder = self.path / "videos"
            folder.mkdir(exist_ok=True)
            for place in (self.path, folder, self.path / "records"):
                remove_abandoned(place)
            if not shared:  # nobody else can be in the middle of a file, whatever program it is
                for leftover in self.path.rglob(f"{TEMPORARY_PREFIX}*.tmp"):
                    leftover.unlink()
            self._writing = True
            try:
                yield self
            finally:
                self._writing = False

    def _finished(self, video: str) -> Path:
        path = self._file(video)
        if not path.is_file():
            raise RunError(f"{self.path}: the run has no masks of video {video!r}; is it finished?")
        return path

    def _file(self, video: str) -> Path:
        return self.path / "videos" / (check_name("video", video) + SUFFIX)

    def _record(self, video: str) -> Path:
        return self.path / "records" / (check_name("video", video) + ".json")


def _check_video(path: Path, found: str, video: str) -> None:
    if found != video:
        raise MaskFileError(path, "video", f"{video!r}, as the file is called", repr(found))


def _read_manifest(path: Path) -> RunManifest | None:
    file = path / "run.json"
    try:
        with open_regular(file) as stream:
            text = stream.read(MAX_MANIFEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_MANIFEST:
        raise RunError(f"{file}: expected a manifest of at most {MAX_MANIFEST} bytes, found a larger file")
    return RunManifest.from_json(text, file)


def _check_is_empty(run: MaskRun, manifest: RunManifest, dataset: Dataset | None) -> None:
    """Check that nothing is lost if a run gets another manifest."""
    if not run.videos():
        return
    if dataset is not None and run.manifest.dataset["fingerprint"] != dataset.fingerprint:
        why = dataset_difference(run.sound_videos(), dataset)
    else:
        why = run.manifest.difference(manifest)
    raise RunError(f"{run.path}: the existing run differs: {why}. Give another folder with --out, or delete this one")


def _start(path: Path, manifest: RunManifest) -> None:
    foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith(TEMPORARY_PREFIX) and p.name != ".lock")
    if foreign and "run.json" not in foreign:
        raise RunError(
            f"{path}: expected an empty folder or a run, found {', '.join(foreign[:3])} and no run.json. "
            "Give another folder with --out."
        )
    write_whole(path / "run.json", manifest.to_json().encode())
