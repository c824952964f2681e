"""The loop over a run's videos: process what is missing, write each video as soon as it is done.

Results go to the run, messages to standard error; only a worker writes to standard output.
"""

import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import typer
from mask_interchange.errors import DatasetError, MaskInterchangeError, RunError
from mask_interchange.files import is_disk_full

from program_kit.errors import ProgramKitError
from program_kit.progress import ProgressCallback, VideoProgress, show_progress
from program_kit.worker_protocol import WorkerEvents, worker_streams

if TYPE_CHECKING:
    from mask_interchange.dataset import Dataset, Video


class VideoResult(Protocol):
    """What a program makes of one video; `VideoMasks`, or several of them where it writes several runs at once."""

    @property
    def video(self) -> str:
        """The video's id."""
        ...

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The video's frames."""
        ...


R = TypeVar("R", bound=VideoResult)
R_in = TypeVar("R_in", bound=VideoResult, contravariant=True)


class MaskSink(Protocol[R_in]):
    """Where results go: a `MaskRun`, or several that are written together."""

    @property
    def path(self) -> Path:
        """For messages."""
        ...

    def has(self, video: str) -> bool:
        """Whether the video is finished."""
        ...

    def missing(self, videos: Iterable[str]) -> list[str]:
        """Those of `videos` that are not finished."""
        ...

    def write(self, masks: R_in, /) -> None:
        """Write a video's result, whole or not at all."""
        ...

    def writing(self, *, shared: bool = False) -> AbstractContextManager[object]:
        """Hold the lock while writing."""
        ...


def run_videos(
    run: MaskSink[R],
    dataset: "Dataset",
    load: Callable[[], Callable[["Video", ProgressCallback], R]],
    videos: str | None = None,
    error: type[Exception] = MaskInterchangeError,
) -> int:
    """Process every video that the run does not have yet, and write each as soon as it is done.

    A video that fails is reported and the others are done. A full disk ends the work.

    Args:
        run: where to write.
        dataset: where the videos are.
        load: makes the function that processes one video; called once, when there is a first video to process.
        videos: the option `--videos`: None for all, ids separated by commas, or `-` to read ids from standard input
            and report on standard output (docs/mask_format.md, worker protocol).
        error: base of the errors that the program raises on purpose; any other is reported with its traceback.

    Returns:
        The exit code: 0 if all is done, 1 if not.

    Raises:
        DatasetError: `videos` names a video that is not there.
        RunBusyError: another process writes the run.
        Exception: whatever `load` raises.
    """
    if videos == "-":
        with run.writing(shared=True), worker_streams() as (ids, events):
            return _Loop(run, dataset, load, error, WorkerEvents(events)).go(ids)
    chosen = list(dataset.videos) if videos is None else _chosen(dataset, videos.split(","))
    with run.writing():
        missing = run.missing(chosen)
        with show_progress(len(missing), len(chosen) - len(missing)) as progress:
            return _Loop(run, dataset, load, error, progress).go(missing)


def _chosen(dataset: "Dataset", ids: Sequence[str]) -> list[str]:
    unknown = [video for video in ids if video not in dataset.videos]
    if unknown:
        known = ", ".join(list(dataset.videos)[:20])
        raise DatasetError(f"--videos: {dataset.name} has no video {', '.join(map(repr, unknown))}; it has {known}")
    return list(dict.fromkeys(ids))


class _Loop(Generic[R]):
    """Processes one video after another."""

    def __init__(
        self,
        run: MaskSink[R],
        dataset: "Dataset",
        load: Callable[[], Callable[["Video", ProgressCallback], R]],
        error: type[Exception],
        progress: VideoProgress,
    ):
        self._run = run
        self._dataset = dataset
        self._load = load
        self._expected = (MaskInterchangeError, ProgramKitError, error)
        self._process: Callable[[Video, ProgressCallback], R] | None = None
        self._progress = progress

    def go(self, videos: Iterable[str]) -> int:
        failures: dict[str, str] = {}
        for video in videos:
            self._progress.started(video)
            if video in self._dataset.videos and self._run.has(video):
                self._progress.done(video)
                continue
            self._process = self._process or self._load()
            try:
                masks = self._masks(video, self._process)
            except Exception as error:  # one broken video must not stop the rest
                failures[video] = self._explained(error)
                self._progress.failed(video, failures[video])
                continue
            try:
                self._run.write(masks)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                failures[video] = f"the disk is full: {self._run.path}; make room, the same command continues"
                self._progress.failed(video, failures[video])
                break
            self._progress.done(video)
        for video, error in failures.items():
            typer.echo(f"failed: {video}: {error}", err=True)
        return 1 if failures else 0

    def _masks(self, video: str, process: Callable[["Video", ProgressCallback], R]) -> R:
        if video not in self._dataset.videos:
            raise DatasetError(f"{self._dataset.name} has no video {video!r}")
        source = self._dataset.videos[video]
        if faults := source.check():
            more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
            raise DatasetError(faults[0] + more)
        masks = process(source, lambda done, total: self._progress.advanced(video, done, total))
        if (masks.video, masks.frame_names) != (source.id, source.frame_names):
            raise RunError(f"the program answered video {source.id!r} with masks of other frames; this is its mistake")
        return masks

    def _explained(self, error: Exception) -> str:
        """An error's message; with the traceback when nobody expected it."""
        if isinstance(error, self._expected):
            return str(error)
        return "".join(traceback.format_exception(error)).rstrip()
