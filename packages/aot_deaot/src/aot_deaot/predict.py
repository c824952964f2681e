"""From mask runs to mask runs: key frames become jobs, and what is propagated becomes tracks again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mask_interchange import (
    Expression,
    MaskRun,
    MaskTrack,
    Video,
    VideoMasks,
    encode_mask,
    soft_from_probabilities,
)
from numpy.typing import NDArray
from PIL import Image

from aot_deaot.errors import InputError
from aot_deaot.propagate import Job, Propagator, Segmented, distinct

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PropagatedVideo:
    """One video's masks for every output run, in the order of the source runs."""

    masks: tuple[VideoMasks, ...]

    @property
    def video(self) -> str:
        """The video's id."""
        return self.masks[0].video

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The video's frames."""
        return self.masks[0].frame_names


class OutputRuns:
    """Several runs written together; a video is finished when every one of them has it."""

    def __init__(self, runs: Sequence[MaskRun]):
        self.runs = runs

    @property
    def path(self) -> Path:
        """Of the first run, for messages."""
        return self.runs[0].path

    def has(self, video: str) -> bool:
        """Whether every run has the video."""
        return all(run.has(video) for run in self.runs)

    def missing(self, videos: Iterable[str]) -> list[str]:
        """Those of `videos` that some run lacks."""
        return [video for video in videos if not self.has(video)]

    def write(self, result: PropagatedVideo, /) -> None:
        """Write each run's masks; a run that has the video already is left as it is."""
        for run, masks in zip(self.runs, result.masks, strict=True):
            if not run.has(masks.video):
                run.write(masks)

    def writing(self, *, shared: bool = False) -> AbstractContextManager[object]:
        """Hold the locks of all runs."""
        with ExitStack() as locks:
            for run in self.runs:
                locks.enter_context(run.writing(shared=shared))
            return locks.pop_all()


@dataclass
class _Growing:
    """A track while its frames come in, in any order."""

    expression: Expression
    key_frame: int
    wanted: Callable[[Segmented], NDArray[np.bool_]]
    probability: Callable[[Segmented], NDArray[np.float32]]
    masks: dict[int, bytes]
    soft: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    longest: int | None = None

    def add(self, result: Segmented) -> None:
        self.masks[result.frame] = encode_mask(self.wanted(result))
        if self.longest is not None:
            self.soft[result.frame] = soft_from_probabilities([self.probability(result)], self.longest)[0]

    def add_key_soft(self, mask: NDArray[np.bool_]) -> None:
        if self.longest is not None:
            self.soft[self.key_frame] = soft_from_probabilities([mask.astype(np.float32)], self.longest)[0]

    def track(self, size: tuple[int, int]) -> MaskTrack:
        frames = range(len(self.masks))
        return MaskTrack(
            expression=self.expression,
            size=size,
            masks=tuple(self.masks[frame] for frame in frames),
            key_frame=self.key_frame,
            soft=np.stack([self.soft[frame] for frame in frames]) if self.soft else None,
        )


def propagate_tracks(
    propagator: Propagator,
    video: Video,
    sources: Sequence[VideoMasks],
    report: Report = lambda done, total: None,
    soft_masks: int | None = None,
) -> PropagatedVideo:
    """Propagate the key frame of every track of every source, all in one go.

    The key frame keeps the source's mask. A track whose key frame is empty, and every track of a video of one frame, is
    returned as it is: there is nothing to propagate.

    Args:
        propagator: network and settings.
        video: the frames.
        sources: masks of this video from one or more runs; every track is one object.
        report: told how many masks are done, of how many.
        soft_masks: longer side of reduced-size probabilities to store; None for none.

    Raises:
        InputError: masks of other frames or another size, or a track without key frame.
    """
    for source in sources:
        _check_source(video, source)
    jobs: list[Job] = []
    growing: list[_Growing] = []
    places: dict[tuple[int, int], int] = {}
    for run, source in enumerate(sources):
        for index, track in enumerate(source.tracks):
            key_frame = _key_frame(source, track)
            mask = track.mask(key_frame)
            if len(track) == 1 or not mask.any():
                continue
            places[run, index] = len(jobs)
            jobs.append(Job(key_frame, mask.astype(np.uint8)))
            growing.append(
                _Growing(
                    track.expression,
                    key_frame,
                    wanted=lambda result: result.numbers > 0,  # any id: with all ids competing, as published
                    probability=lambda result: 1 - result.probabilities[0].cpu().numpy(),
                    masks={key_frame: track.masks[key_frame]},
                    longest=soft_masks,
                )
            )
            growing[-1].add_key_soft(mask)
    for result in _counted(propagator.propagate(video, jobs), jobs, len(video), report):
        for job in result.jobs:
            growing[job].add(result)
    return PropagatedVideo(
        tuple(
            VideoMasks(
                video=video.id,
                size=source.size,
                frame_names=source.frame_names,
                tracks=tuple(
                    growing[places[run, index]].track(source.size) if (run, index) in places else track
                    for index, track in enumerate(source.tracks)
                ),
            )
            for run, source in enumerate(sources)
        )
    )


def propagate_labels(
    propagator: Propagator,
    video: Video,
    key_frame: int,
    labels: NDArray[np.integer],
    report: Report = lambda done, total: None,
    soft_masks: int | None = None,
) -> VideoMasks:
    """Plain video object segmentation: every object of an id map gets a track, named by its id.

    Args:
        propagator: network and settings.
        video: the frames.
        key_frame: index of the frame that `labels` belongs to.
        labels: integer [H, W], 0 is background.
        report: as in `propagate_tracks`.
        soft_masks: as in `propagate_tracks`.

    Raises:
        InputError: the map is empty or of another size, or the frame is not in the video.
    """
    job = Job(key_frame, labels)
    ids = [int(i) for i in np.unique(labels) if i != 0]
    tracks = []
    for number, object_id in enumerate(ids, start=1):
        mask = labels == object_id
        tracks.append(
            _Growing(
                Expression(id=str(object_id)),
                key_frame,
                wanted=lambda result, number=number: result.numbers == number,
                probability=lambda result, number=number: result.probabilities[number].cpu().numpy(),
                masks={key_frame: encode_mask(mask)},
                longest=soft_masks,
            )
        )
        tracks[-1].add_key_soft(mask)
    for result in _counted(propagator.propagate(video, [job]), [job], len(video), report):
        for track in tracks:
            track.add(result)
    return VideoMasks(
        video=video.id,
        size=video.size,
        frame_names=video.frame_names,
        tracks=tuple(track.track(video.size) for track in tracks),
    )


def read_labels(path: Path, max_objects: int, *, more_objects: bool = False) -> NDArray[np.uint8]:
    """Object ids uint8 [H, W] of an indexed or grey 8-bit PNG.

    Args:
        path: the file; pixel values are ids.
        max_objects: ids that the network knows.
        more_objects: allow ids above `max_objects`.

    Raises:
        InputError: not such an image, no object in it, or an id that the network does not know.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise InputError(
                    f"{path}: expected an indexed or grey image of object ids, found mode {image.mode}; "
                    "colours say nothing about ids"
                )
            labels = np.asarray(image).astype(np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such mask file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable image ({error})") from error
    highest = int(labels.max(initial=0))
    if highest == 0:
        raise InputError(f"{path}: expected at least one object, all pixels are background")
    if highest > max_objects and not more_objects:
        raise InputError(
            f"{path}: object id {highest} is beyond the network's limit, ids are 1 to {max_objects}; renumber the mask "
            "(255 often marks pixels to ignore: set them to 0), or give --more-objects to run several sets of "
            f"{max_objects} objects side by side"
        )
    return labels


def _check_source(video: Video, source: VideoMasks) -> None:
    if source.frame_names != video.frame_names:
        odd = next(
            (name for name in source.frame_names if name not in set(video.frame_names)),
            f"{len(source.frame_names)} frames",
        )
        raise InputError(
            f"video {video.id!r}: the masks are of other frames ({odd}), the video has {len(video)} frames "
            f"{video.frame_names[0]} to {video.frame_names[-1]}; give the data set that the masks were made on"
        )
    if source.size != tuple(video.size):
        raise InputError(
            f"video {video.id!r}: the masks are {source.size[0]}x{source.size[1]}, the frames "
            f"{video.size[0]}x{video.size[1]} (height x width); export and import the masks at the video's size"
        )


def _key_frame(source: VideoMasks, track: MaskTrack) -> int:
    if track.key_frame is None:
        raise InputError(
            f"video {source.video!r}, expression {track.expression.id!r}: the masks name no key frame to propagate "
            "from; use a run of a program that scores its frames, or import the masks with their key frames"
        )
    return track.key_frame


def _counted(results: Iterator[Segmented], jobs: Sequence[Job], frames: int, report: Report) -> Iterator[Segmented]:
    total = len(distinct(jobs)) * (frames - 1)
    for done, result in enumerate(results, start=1):
        yield result
        report(done, total)
