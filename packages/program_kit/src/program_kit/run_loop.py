"""The loop over a run's videos: process what is missing, write each video as soon as it is done.

Results go to the run, messages to standard error; only a worker writes to standard output.
"""

import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from mask_interchange.dataset import Dataset
from mask_interchange.errors import DatasetError, MaskInterchangeError, RunError
from mask_interchange.files import is_disk_full
from mask_interchange.json_files import Json
from mask_interchange.made_of import MadeOf
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video

from program_kit.errors import ProgramKitError
from program_kit.messages import about, log
from program_kit.outputs import OutputRuns
from program_kit.progress import ProgressCallback, VideoProgress, show_progress
from program_kit.worker_protocol import Order, WorkerEvents, worker_streams

Process = Callable[[Video, ProgressCallback, Json], Sequence[VideoMasks]]
"""Makes the masks of one video, for each of the runs that are written; is given the details of an order as well. It may
be a `ReadsAhead`."""


@runtime_checkable
class ReadsAhead(Protocol):
    """Who can read a video while another one is worked on."""

    def expect(self, video: Video, /) -> None:
        """Begin to read the video that will be asked for next. Faults in it are left for then."""
        ...


def run_videos(
    outputs: OutputRuns,
    dataset: Dataset,
    load: Callable[[], Process],
    videos: str | None = None,
    error: type[Exception] = MaskInterchangeError,
) -> int:
    """Process every video that the runs do not have yet, and write each as soon as it is done.

    A video is made again if its frames or source masks are no longer those that its masks were made from. A video that
    fails is reported and the others are done. A full disk ends the work. If an error ends it before any video is done,
    the runs are removed: nothing stands in the way of the next try.

    Args:
        outputs: where to write.
        dataset: where the videos are.
        load: makes the function that processes one video; called once, when there is a first video to process.
        videos: the option `--videos`: None for all, ids separated by commas, or `-` to read orders from standard input
            and report on standard output (docs/mask_format.md, worker protocol).
        error: base of the errors that the program raises on purpose; any other is reported with its traceback.

    Returns:
        The exit code: 0 if all is done, 1 if not.

    Raises:
        DatasetError: `videos` names a video that is not there.
        RunBusyError: another process writes the run.
        Exception: whatever `load` raises.
    """
    try:
        if videos == "-":
            with outputs.writing(shared=True), worker_streams() as (orders, events):
                return _Loop(outputs, dataset, load, error, WorkerEvents(events)).go(orders)
        chosen = list(dataset.videos) if videos is None else _chosen(dataset, videos.split(","))
        with outputs.writing():
            missing = [video for video in chosen if not _is_done(outputs, dataset, video)]
            if outdated := sum(map(outputs.begun, missing)):
                log.info(f"{outdated} videos are made again: their frames or source masks have changed")
            with show_progress(len(missing), len(chosen) - len(missing)) as progress:
                return _Loop(outputs, dataset, load, error, progress).go([Order(video=video) for video in missing])
    except BaseException:
        outputs.remove_if_empty()
        raise


def _chosen(dataset: Dataset, ids: Sequence[str]) -> list[str]:
    unknown = [video for video in ids if video not in dataset.videos]
    if unknown:
        known = ", ".join(list(dataset.videos)[:20])
        raise DatasetError(f"--videos: {dataset.name} has no video {', '.join(map(repr, unknown))}; it has {known}")
    return list(dict.fromkeys(ids))


def _is_done(outputs: OutputRuns, dataset: Dataset, video: str) -> bool:
    try:
        return outputs.have(dataset.videos[video])
    except DatasetError:
        return False  # the same error is raised again, and reported, where the video is processed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A video to process, the details of the order, and what its masks will be made from; None for those of details."""

    video: Video
    details: Json
    made_of: Sequence[MadeOf] | None


class _Loop:
    """Processes one video after another."""

    def __init__(
        self,
        outputs: OutputRuns,
        dataset: Dataset,
        load: Callable[[], Process],
        error: type[Exception],
        progress: VideoProgress,
    ):
        self._outputs = outputs
        self._dataset = dataset
        self._load = load
        self._expected = (MaskInterchangeError, ProgramKitError, error)
        self._process: Process | None = None
        self._progress = progress
        self._failures: dict[str, str] = {}
        self._begun: Video | None = None  # the video that is being read ahead

    def go(self, orders: Iterable[Order]) -> int:
        """Process videos; of a list, the next one is read while one is worked on."""
        following = {one.video: other.video for one, other in pairwise(orders)} if isinstance(orders, list) else {}
        for order in orders:
            video = order.video
            self._progress.started(video)
            try:
                work = self._work(order)
            except Exception as error:  # one broken video must not stop the rest
                self._fail(video, self._explained(error))
                continue
            if work is not None:
                process = self._process = self._process or self._load()
                if video in following:
                    self._expect(following[video], process)
                try:
                    self._carry_out(work, process)
                except Exception as error:
                    if is_disk_full(error):
                        self._fail(
                            video, f"the disk is full: {self._outputs.path}; make room, the same command continues"
                        )
                        break
                    self._fail(video, self._explained(error))
                    continue
            self._progress.done(video)
        for video, error in self._failures.items():
            log.error(f"failed: {video}: {error}", extra=about(video=video))
        return 1 if self._failures else 0

    def _expect(self, video: str, process: Process) -> None:
        """Let the next video be read already."""
        if isinstance(process, ReadsAhead):
            with suppress(DatasetError):  # the same error is raised again, and reported, in its turn
                self._begun = self._dataset.videos[video]
                process.expect(self._begun)

    def _video(self, video: str) -> Video:
        """A video of the data set; the very one that is being read ahead, if it is this one."""
        begun, self._begun = self._begun, None
        return begun if begun is not None and begun.id == video else self._dataset.videos[video]

    def _work(self, order: Order) -> _Work | None:
        """What there is to do for an order; None if it is done."""
        if order.video not in self._dataset.videos:
            hint = "; an order is a JSON object with the key `video`" if order.video.startswith("{") else ""
            raise DatasetError(f"{self._dataset.name} has no video {order.video!r:.80}{hint}")
        source = self._video(order.video)
        if not order.details and self._outputs.have(source):
            return None
        if faults := source.check():
            more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
            raise DatasetError(f"{faults[0]}{more}")
        for note in source.notes():
            log.warning(f"note: {note}", extra=about(video=order.video))
        made_of = None if order.details else self._outputs.made_of(source)
        return _Work(video=source, details=order.details, made_of=made_of)

    def _carry_out(self, work: _Work, process: Process) -> None:
        """Make the masks of a video and write them."""
        video = work.video
        masks = process(video, lambda done, total: self._progress.advanced(video.id, done, total), work.details)
        if any((found.video, found.frame_names) != (video.id, video.frame_names) for found in masks):
            raise RunError(f"the program answered video {video.id!r} with masks of other frames; this is its mistake")
        if work.made_of is not None and self._outputs.made_of(video) != work.made_of:
            raise DatasetError(
                f"video {video.id!r}: its frames or source masks changed while it was processed; the same command makes"
                " it again"
            )
        self._progress.computed(video.id)
        try:
            self._outputs.write(masks, work.made_of)
        except OSError as error:
            if is_disk_full(error):
                raise
            raise RunError(f"{self._outputs.path}: video {video.id!r} cannot be written: {error.strerror}") from error

    def _fail(self, video: str, error: str) -> None:
        self._failures[video] = error
        self._progress.failed(video, error)

    def _explained(self, error: Exception) -> str:
        """An error's message; with the traceback when nobody expected it."""
        if isinstance(error, self._expected):
            return str(error)
        return "".join(traceback.format_exception(error)).rstrip()
