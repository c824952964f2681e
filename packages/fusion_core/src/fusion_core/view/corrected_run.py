"""The run that corrections become, beside the runs that they correct.

runs/corrected/run.json             an ordinary run: votes, exports, scores and submissions read it
runs/corrected/videos/dog.masks     the source's masks with the corrected ones in their place
runs/corrected/edits/dog.jsonl      the corrections (`journal`); what counts until they are saved
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import RLock
from typing import Self

from mask_interchange import (
    Expression,
    MadeOf,
    MaskInterchangeError,
    MaskRun,
    MaskTrack,
    RunError,
    RunManifest,
    VideoMasks,
)
from mask_interchange.files import file_sha256, write_whole
from mask_interchange.rle import empty_mask
from program_kit.distributions import version_of

from fusion_core.errors import FusionCoreError
from fusion_core.view.corrections import Corrections
from fusion_core.view.journal import Journal, Subject
from fusion_core.view.library import CORRECTED, Library, unused

PRODUCER = "fusion-core view"


class ReadOnlyError(RunError):
    """A correction that cannot be written, because the run cannot."""


class CorrectedRun:
    """Corrections of the videos of a library, and the run that they are saved as.

    The run is made, and locked for this process, with the first correction, or at the start if it is there.

    Attributes:
        library: what is corrected.
        source: number of the run that is corrected.
        path: of the corrected run.
        read_only: why nothing can be written, in words; None if it can.
    """

    def __init__(self, library: Library, source: str | None = None) -> None:
        """Open what is there.

        Args:
            library: what is corrected.
            source: name of the run to correct; by default that of the corrections that are there, else the run that no
                other run was made of.

        Raises:
            RunError: there is no such run; or there are corrections of another run.
        """
        self.library = library
        self.path = library.folder / CORRECTED
        self.read_only: str | None = None
        self._there = MaskRun.open(self.path) if (self.path / "run.json").is_file() else None
        self.source = self._source_number(source)
        self._run: MaskRun | None = None
        self._lock = RLock()
        self._stack = ExitStack()
        self._corrections: dict[int, Corrections] = {}
        self._changed_at: float | None = None
        if self._there is not None:
            try:
                self._begin()
                if any(self._is_behind(video) for video in library.videos):
                    self.changed()
            except (RunError, OSError) as error:
                self.read_only = str(error)

    def _source_number(self, wanted: str | None) -> int:
        names = [run.name for run in self.library.runs]
        before = None if self._there is None else self._there.manifest.settings.get("source")
        if self._there is not None and self._there.manifest.producer != PRODUCER:
            raise RunError(
                f"{self.path}: expected corrections, found a run of {self._there.manifest.producer}; move it away"
            )
        if before is not None and wanted not in {None, before}:
            raise RunError(
                f"{self.path}: holds corrections of the run {before!r}, not of {wanted!r}; move it away first"
            )
        name = wanted or before or unused(self.library.runs).name
        if name not in names:
            raise RunError(f"{self.library.folder}: has no run {name!r}, only {', '.join(names)}")
        return names.index(str(name))

    @property
    def source_run(self) -> MaskRun:
        """The run that is corrected."""
        return self.library.runs[self.source]

    @property
    def is_saved(self) -> bool:
        """Whether the run on disk holds every correction."""
        return self._changed_at is None

    def unsaved_for(self) -> float:
        """Seconds since the last correction that is not in the run on disk; 0 if there is none."""
        return 0.0 if self._changed_at is None else time.monotonic() - self._changed_at

    def corrections(self, v: int) -> Corrections:
        """The corrections of a video, by its number.

        Raises:
            JournalError: what is on disk is damaged, or about another video.
            DatasetError: the video cannot be read.
        """
        with self._lock:
            if v not in self._corrections:
                opened = self.library.open(v)
                subject = Subject(
                    video=opened.video.id, size=opened.size, frames=opened.frames, source=self.source_run.name
                )
                self._corrections[v] = Corrections(
                    journal=Journal(self._journal(opened.video.id), subject),
                    expressions=[expression.id for expression in opened.video.expressions],
                )
            return self._corrections[v]

    def mask(self, v: int, e: int, i: int) -> bytes:
        """The run-length string of a frame as it is now, corrected or not."""
        corrected = self.corrections(v).mask(e, i)
        return corrected if corrected is not None else self.library.open(v).strings(self.source, e, i, i + 1)[0]

    def begin(self) -> None:
        """Make the run if it is not there, and keep other processes from writing it.

        Raises:
            ReadOnlyError: it cannot be written; says why.
        """
        with self._lock:
            if self.read_only is None and self._run is None:
                try:
                    self._begin()
                except (RunError, OSError) as error:
                    self.read_only = str(error)
            if self.read_only is not None:
                raise ReadOnlyError(f"nothing is written: {self.read_only}")

    def _begin(self) -> None:
        manifest = RunManifest(
            producer=PRODUCER,
            producer_version=version_of("fusion-core"),
            settings={"source": self.source_run.name},
            dataset=self.source_run.manifest.dataset,
        )
        run = self._there or MaskRun.create(self.path, manifest)
        self._stack.enter_context(run.writing())
        (self.path / "edits").mkdir(exist_ok=True)
        self._run = run

    def changed(self) -> None:
        """Note that there is a correction which the run on disk does not have."""
        self._changed_at = time.monotonic()

    def save(self) -> None:
        """Write the run: every video of the source, with its corrections.

        Raises:
            ReadOnlyError: it cannot be written.
            MaskInterchangeError, JournalError: of the first video that cannot be written; the others are.
            OSError: as the system gives it.
        """
        self.begin()
        with self._lock:
            changed_at = self._changed_at
            problems: list[Exception] = []
            for v, video in enumerate(self.library.videos):
                try:
                    if self._journal(video).is_file():
                        self._save_corrected(v, video)
                    elif self.source_run.has(video):
                        self._copy(video)
                except (MaskInterchangeError, FusionCoreError) as error:
                    problems.append(error)
            if problems:
                raise problems[0]
            if self._changed_at == changed_at:
                self._changed_at = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Save what is not saved, and let other processes write the run."""
        with self._stack:
            if self._run is not None and not self.is_saved:
                self.save()

    def _is_behind(self, video: str) -> bool:
        """Whether there are corrections of a video that a killed process did not save."""
        assert self._run is not None  # `_begin` was called
        return self._journal(video).is_file() and self._run.made_of(video) != self._made_of(video)

    def _copy(self, video: str) -> None:
        assert self._run is not None  # `begin` was called
        made_of = self._made_of(video)
        if self._run.made_of(video) != made_of:
            file = f"videos/{video}.masks"
            write_whole(self.path / file, (self.source_run.path / file).read_bytes())
            self._run.record(video, made_of)

    def _save_corrected(self, v: int, video: str) -> None:
        assert self._run is not None  # `begin` was called
        corrections = self.corrections(v)
        with corrections.lock:
            made_of = self._made_of(video)
            if self._run.made_of(video) != made_of:
                self._run.write(self._corrected(v, corrections), made_of)

    def _made_of(self, video: str) -> MadeOf:
        journal = self._journal(video)
        assert self._run is not None  # `begin` was called
        return MadeOf(
            manifest=self._run.manifest.sha256,
            sources=(self.source_run.sha256(video), file_sha256(journal) if journal.is_file() else None),
        )

    def _corrected(self, v: int, corrections: Corrections) -> VideoMasks:
        opened = self.library.open(v)
        has_video = self.source_run.has(opened.video.id)
        tracks = list(self.source_run.read(opened.video.id).tracks) if has_video else []
        there = {track.expression.id: place for place, track in enumerate(tracks)}
        for e, expression in enumerate(opened.video.expressions):
            track = tracks[there[expression.id]] if expression.id in there else None
            made = corrected_track(track, expression, corrections, e)
            if track is None:
                tracks.append(made)
            else:
                tracks[there[expression.id]] = made
        return VideoMasks(video=opened.video.id, size=opened.size, frame_names=opened.frame_names, tracks=tuple(tracks))

    def _journal(self, video: str) -> Path:
        return self.path / "edits" / f"{video}.jsonl"


def corrected_track(track: MaskTrack | None, expression: Expression, corrections: Corrections, e: int) -> MaskTrack:
    """A track with corrected masks in their places; a track without corrections is returned as it is.

    Scores, soft masks and support tell of the source's masks, so a corrected track has none. Its key frame is the first
    drawn frame that shows the object.
    """
    subject = corrections.journal.subject
    empty = empty_mask(subject.size)
    masks: Sequence[bytes] = [empty] * subject.frames if track is None else track.masks
    corrected = [corrections.mask(e, i) for i in range(subject.frames)]
    if track is not None and all(mask is None for mask in corrected):
        return track
    masks = [old if new is None else new for old, new in zip(masks, corrected, strict=True)]
    drawn = (i for i in range(subject.frames) if corrections.kind(e, i) == "draw" and masks[i] != empty)
    key_frame = next(drawn, None if track is None else track.key_frame)
    return MaskTrack(expression=expression, size=subject.size, masks=tuple(masks), key_frame=key_frame)
