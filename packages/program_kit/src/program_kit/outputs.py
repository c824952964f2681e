"""The runs that a program writes, with a record of what each video was made from."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from mask_interchange.dataset import Dataset
from mask_interchange.made_of import MadeOf
from mask_interchange.run import MaskRun, RunManifest
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video


class OutputRuns:
    """Runs that are written together; a video is finished when every one of them has it.

    Args:
        runs: what is written.
        sources: for each of them the run that it is made from; by default they are made from frames alone.
    """

    def __init__(self, runs: Sequence[MaskRun], sources: Sequence[MaskRun] = ()):
        self.runs = runs
        self._sources = [[source] for source in sources] or [[]] * len(runs)

    @classmethod
    def create(
        cls, wanted: Sequence[tuple[Path, RunManifest]], dataset: Dataset, sources: Sequence[MaskRun] = ()
    ) -> Self:
        """Start runs, or continue them; see `MaskRun.create`. If one cannot be continued, none is started.

        Raises:
            RunError: a folder holds masks that were made of something else, or other files.
        """
        runs: list[MaskRun] = []
        try:
            for path, manifest in wanted:
                runs.append(MaskRun.create(path, manifest, dataset))
        except BaseException:
            cls(runs).remove_if_empty()
            raise
        return cls(runs, sources)

    def remove_if_empty(self) -> None:
        """Remove those runs that have no masks."""
        for run in self.runs:
            run.remove_if_empty()

    @property
    def path(self) -> Path:
        """Of the first run, for messages."""
        return self.runs[0].path

    def made_of(self, video: Video) -> list[MadeOf]:
        """What each run's masks of a video would be made from now. Reads all frames and source masks.

        Raises:
            DatasetError: a frame cannot be read.
        """
        frames = video.fingerprint()
        return [
            MadeOf(
                manifest=run.manifest.sha256,
                frames=frames,
                sources=tuple(source.sha256(video.id) for source in sources),
            )
            for run, sources in zip(self.runs, self._sources, strict=True)
        ]

    def begun(self, video: str) -> bool:
        """Whether some run has masks of the video, of whatever they are made."""
        return any(run.has(video) for run in self.runs)

    def have(self, video: Video) -> bool:
        """Whether every run's masks of the video are there, made from what there is now.

        Raises:
            DatasetError: there are masks, and a frame cannot be read.
        """
        if not self.begun(video.id):
            return False
        return all(run.made_of(video.id) == now for run, now in zip(self.runs, self.made_of(video), strict=True))

    def write(self, masks: Sequence[VideoMasks], made_of: Sequence[MadeOf] | None) -> None:
        """Write each run's masks of one video. A run that has them, made from the same, is left as it is.

        Args:
            masks: for each run.
            made_of: what they were made from; None for masks that no later run is to take for its own.

        Raises:
            MaskFileError: the format has no room for the masks.
            OSError: as the system gives it.
        """
        for run, found, now in zip(self.runs, masks, made_of or [None] * len(self.runs), strict=True):
            if now is None or run.made_of(found.video) != now:
                run.write(found, now)

    def writing(self, *, shared: bool = False) -> AbstractContextManager[object]:
        """Hold the locks of all runs.

        Raises:
            RunBusyError: another process writes one of them.
        """
        with ExitStack() as locks:
            for run in self.runs:
                locks.enter_context(run.writing(shared=shared))
            return locks.pop_all()
