"""A propagator in a process of its own that stays for the next order."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from threading import Lock

from mask_interchange import MaskRun, RunManifest, VideoMasks
from mask_interchange.codec import SUFFIX
from mask_interchange.lazy_masks import LazyMasks
from program_kit.progress import ProgressCallback

from fusion_core.running.environments import StatusCallback, find_program
from fusion_core.running.worker import JobError, ProgramWorker, WorkerLostError


class WarmProgram:
    """Carries out one order at a time. It starts with the first, and again after it has ended.

    Args:
        command: its command line.
        data: options that name the data set or video.
        name: of the data set.
        folder: for what it reads and writes; may be deleted.
    """

    def __init__(self, command: Sequence[str], data: Sequence[str], name: str, folder: Path) -> None:
        self._command = command
        self._data = data
        self._folder = folder
        self._manifest = RunManifest(
            producer="fusion-core view",
            producer_version="1",
            dataset={"name": name, "split": None, "fingerprint": None},
        )
        self._lock = Lock()
        self._worker: ProgramWorker | None = None

    def order(
        self,
        video: str,
        details: Mapping[str, object],
        masks: VideoMasks | None = None,
        *,
        status: StatusCallback = lambda line: None,
        progress: ProgressCallback = lambda done, total: None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> LazyMasks:
        """Let it make the masks of a video.

        Args:
            video: its id.
            details: of the order (docs/mask_format.md, section 7).
            masks: what it starts from; every mask that is not empty.
            status: told what is done before the work begins.
            progress: of the work.
            is_wanted: whether the program, once it has started, is still to be given the order.

        Raises:
            FusionCoreError, MaskInterchangeError, OSError: it cannot; says why. The next order may try again.
        """
        source = MaskRun.create(self._folder / "source", self._manifest)
        if masks is not None:
            source.write(masks)
        (self._folder / "result" / "videos" / (video + SUFFIX)).unlink(missing_ok=True)
        worker = self._ready(status)
        if not is_wanted():
            self.end()
        try:
            worker.process(video, progress, details)
        except (JobError, WorkerLostError):
            self.end()
            raise
        return MaskRun.open(self._folder / "result").open_video(video)

    def end(self) -> None:
        """End the process, if there is one, at once; may be called from any thread."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
            self._worker = None

    def _ready(self, status: StatusCallback) -> ProgramWorker:
        """The process of the last order, or a new one."""
        with self._lock:
            if self._worker is not None:
                return self._worker
        program = find_program(self._command)
        program.make_ready(status)
        rmtree(self._folder / "result", ignore_errors=True)  # of another start, perhaps with other settings
        runs = ("--masks", str(self._folder / "source"), "--every-mask", "--out", str(self._folder / "result"))
        worker = ProgramWorker((*program.command, *self._data, *runs), self._folder / "log.txt", {})
        with self._lock:
            self._worker = worker
        return worker
