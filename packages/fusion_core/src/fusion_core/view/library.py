"""What there is to look at: the videos of a data set, and the masks that runs have of them."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread

import numpy as np
from mask_interchange import Dataset, DatasetError, Expression, MaskInterchangeError, MaskRun, RunError, Video
from mask_interchange.lazy_masks import LazyMasks, LazyTrack
from mask_interchange.overlap import Values
from mask_interchange.rle import RunLengths, Size, decode_runs, empty_mask
from mask_interchange.video_file import VideoFile
from numpy.typing import NDArray

from fusion_core.errors import MemberError
from fusion_core.report.content import Count, vote_counts
from fusion_core.report.disagreement import disagreement
from fusion_core.view.bytes_cache import BytesCache
from fusion_core.view.pictures import jpeg
from fusion_core.view.request_values import NotThereError
from fusion_core.voting.fused_run import recorded_vote

PICTURE_BYTES = 64 * 2**20
STRING_BYTES = 128 * 2**20
OPEN_VIDEOS = 2
AT_ONCE = 64  # masks that are compared at a time
CORRECTED = "corrected"  # the run that corrections are saved as
CACHES = ".view"  # folder beside the runs for what may be deleted


@dataclass(kw_only=True)
class OpenVideo:
    """A video that is looked at.

    Attributes:
        video: the data set's; its expressions are those of the first run that has it where the data set names none.
        masks: of every run that has the video and matches it, by the run's number.
        problems: what cannot be shown, in words, by the run's number.
        is_checked: whether `check` has ended.
        problem: what it found wrong with the video file, in words; None if nothing.
    """

    video: Video
    masks: Mapping[int, LazyMasks]
    problems: Mapping[int, str]
    is_checked: bool = False
    problem: str | None = None

    @property
    def size(self) -> Size:
        """(H, W) in pixels."""
        return self.video.size

    @cached_property
    def frames(self) -> int:
        """Number of frames: as the runs have them, so that a long video file need not be read to its end first."""
        for masks in self.masks.values():
            return len(masks.frame_names)
        return len(self.video)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames in order."""
        for masks in self.masks.values():
            return masks.frame_names
        return self.video.frame_names

    def track(self, run: int, e: int) -> LazyTrack | None:
        """The masks that a run has of expression number `e`; None if it has none."""
        if run not in self.masks:
            return None
        wanted = self.video.expressions[e].id
        return next((track for track in self.masks[run].tracks if track.expression.id == wanted), None)

    def strings(self, run: int, e: int, start: int, stop: int) -> list[bytes]:
        """Run-length strings of frames start..stop-1, empty masks where the run has none."""
        track = self.track(run, e)
        if track is None:
            return [empty_mask(self.size)] * (stop - start)
        return [track.counts(i) for i in range(start, stop)]

    def picture(self, i: int) -> NDArray[np.uint8]:
        """Frame `i`; while a video file is read to its end, the one that its packets promise."""
        source = self.video.source
        return source.read_early(i) if isinstance(source, VideoFile) else source.read(i)

    def check(self) -> None:
        """Look for what is wrong with the video file; reads it to its end."""
        try:
            self.problem = self._problem()
        finally:
            self.is_checked = True

    def _problem(self) -> str | None:
        source = self.video.source
        try:
            if self.video.frame_names != self.frame_names:
                return f"the file has {len(self.video)} frames, the runs have {self.frames}; are they of other data?"
            if isinstance(source, VideoFile) and not source.keeps_promises():
                return (
                    f"video {self.video.id}: frames that were shown before the file was read to its end were not those"
                    " of their numbers; start `view` again, and look at what you corrected meanwhile"
                )
        except DatasetError as error:
            return str(error)
        return None


@dataclass(kw_only=True)
class Library:
    """The videos and runs of one start of the program.

    Attributes:
        dataset: has the frames and expressions.
        runs: what was found, in natural order of their names.
        folder: that of the runs.
    """

    dataset: Dataset
    runs: Sequence[MaskRun]
    folder: Path
    _open: OrderedDict[int, OpenVideo] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._pictures: BytesCache[bytes] = BytesCache(PICTURE_BYTES, len)
        self._masks: BytesCache[LazyMasks] = BytesCache(STRING_BYTES, lambda masks: masks.nbytes)
        if not self.videos:
            names = ", ".join(run.name for run in self.runs)
            raise RunError(
                f"{self.folder}: no video of {self.dataset.name} is in the runs {names};"
                " is it another data set, or another split?"
            )

    @cached_property
    def videos(self) -> tuple[str, ...]:
        """Ids of the videos that at least one run has, in the data set's order."""
        there = {video for run in self.runs for video in run.videos()}
        return tuple(video for video in self.dataset.videos if video in there)

    def expressions(self, v: int) -> tuple[Expression, ...]:
        """The expressions of a video, without reading its frames.

        Raises:
            DatasetError: the data set's entry is faulty.
        """
        of_dataset = self.dataset.videos[self.videos[v]].expressions
        return of_dataset or self.open(v).video.expressions

    def open(self, v: int) -> OpenVideo:
        """A video by its number.

        Raises:
            NotThereError: there is none of this number.
            DatasetError: its frames cannot be read.
        """
        if not 0 <= v < len(self.videos):
            raise NotThereError(f"expected a video from 0 to {len(self.videos) - 1}, found {v}")
        with self._lock:
            if v not in self._open:
                self._open[v] = self._opened(self.dataset.videos[self.videos[v]])
                while len(self._open) > OPEN_VIDEOS:
                    self._open.popitem(last=False)
            self._open.move_to_end(v)
            return self._open[v]

    def prepare(self) -> None:
        """Open the first video in the background, as a page that starts will ask for it."""

        def look() -> None:
            with suppress(MaskInterchangeError):  # said when it is asked for
                self.open(0).picture(0)

        Thread(target=look, daemon=True).start()

    def _opened(self, video: Video) -> OpenVideo:
        source = video.source
        if isinstance(source, VideoFile) and not source.index.is_complete:
            source.index.keep_in(self.folder / CACHES / "index")
        _ = video.size  # raises at once if no run can match
        masks: dict[int, LazyMasks] = {}
        problems: dict[int, str] = {}
        for number, run in enumerate(self.runs):
            if not run.has(video.id):
                continue
            try:
                masks[number] = _matching(self._read(run, video.id), video, run.name)
            except (MaskInterchangeError, MemberError) as error:
                problems[number] = str(error)
        if not video.expressions and masks:
            first = next(iter(masks.values()))
            video = replace(video, expressions=tuple(track.expression for track in first.tracks))
        opened = OpenVideo(video=video, masks=masks, problems=problems)
        Thread(target=opened.check, daemon=True).start()  # lets the index of a video file grow
        return opened

    def _read(self, run: MaskRun, video: str) -> LazyMasks:
        state = (run.path / "videos" / f"{video}.masks").stat()
        return self._masks.get((run.path, video, state.st_mtime_ns), lambda: run.open_video(video))

    def picture(self, v: int, i: int, width: int | None) -> bytes:
        """Frame `i` of a video as JPEG.

        Raises:
            NotThereError: there is no such frame.
            DatasetError: it cannot be read.
        """
        video = self.open(v)
        if not 0 <= i < video.frames:
            raise NotThereError(f"expected a frame from 0 to {video.frames - 1}, found {i}")
        return self._pictures.get((v, i, width), lambda: jpeg(video.picture(i), width))

    def votes(self, v: int, run: int, e: int) -> Count | None:
        """How the masks of an expression were voted; None if the run is no vote, or a member is missing."""
        vote = recorded_vote(self.runs[run])
        video = self.open(v)
        names = {self.runs[number].name: number for number in video.masks}
        if vote is None or vote.rule != "count" or not set(vote.members) <= names.keys():
            return None
        read = {name: self.runs[names[name]].read(video.video.id) for name in vote.members}
        return vote_counts(vote, read, video.video.expressions)[e]

    def disagreement(self, v: int, e: int) -> Values | None:
        """As in the report: 1 minus the mean IoU of the members of every vote with its result, float64 [T]."""
        video = self.open(v)
        names = {self.runs[number].name: number for number in video.masks}
        votes = {number: vote for number in video.masks if (vote := recorded_vote(self.runs[number]))}
        pairs = [
            (member, result)
            for number, vote in votes.items()
            for name in vote.members
            if name in names and (member := video.track(names[name], e)) and (result := video.track(number, e))
        ]
        parts = [
            disagreement((_runs(one, start, stop), _runs(other, start, stop)) for one, other in pairs)
            for start, stop in _stretches(video.frames)
        ]
        return np.concatenate([part for part in parts if part is not None]) if pairs else None


def _runs(track: LazyTrack, start: int, stop: int) -> RunLengths:
    return decode_runs([track.counts(i) for i in range(start, stop)], track.size)


def _stretches(frames: int) -> list[tuple[int, int]]:
    return [(start, min(start + AT_ONCE, frames)) for start in range(0, frames, AT_ONCE)]


def _matching(masks: LazyMasks, video: Video, run: str) -> LazyMasks:
    """The masks, if they are of this video as far as its frames are known."""
    if masks.size != video.size:
        raise MemberError(
            f"run {run}: frames of {masks.size[1]}x{masks.size[0]} pixels, but the video has "
            f"{video.size[1]}x{video.size[0]}; is it of other data?"
        )
    source = video.source
    if isinstance(source, VideoFile) and not source.index.is_complete:
        return masks
    if masks.frame_names != video.frame_names:
        raise MemberError(
            f"run {run}: {len(masks.frame_names)} frames, but the video has {len(video)}, or other names of them;"
            " is it of other data?"
        )
    return masks


def open_runs(folder: Path) -> list[MaskRun]:
    """The runs in a folder, without the one that holds corrections.

    Raises:
        RunError: there are none.
    """
    if (folder / "run.json").is_file():
        raise RunError(f"{folder}: expected a folder of runs, found a run; give the folder around it with --runs")
    if (folder / "runs").is_dir():  # what `segment` leaves
        folder = folder / "runs"
    found = sorted(path.parent for path in folder.glob("*/run.json") if path.parent.name != CORRECTED)
    if not found:
        raise RunError(f"{folder}: holds no runs; give the folder of the runs with --runs")
    return [MaskRun.open(path) for path in found]


def unused(runs: Sequence[MaskRun]) -> MaskRun:
    """The run to start from: one that no other run was made of, the last of them by the time it was made."""
    read = {name for run in runs for name in _inputs(run)}
    results = [run for run in runs if run.name not in read] or runs
    return max(results, key=lambda run: (run.path / "run.json").stat().st_mtime_ns)


def _inputs(run: MaskRun) -> list[str]:
    """Names of the runs that a run was made of, as its manifest records them."""
    settings = run.manifest.settings
    listed = settings.get("members") or settings.get("inputs") or []
    source = settings.get("source")  # of a propagator
    described = [*(listed if isinstance(listed, list) else []), source]
    return [name for one in described if isinstance(one, dict) and (name := one.get("name") or one.get("run"))]
