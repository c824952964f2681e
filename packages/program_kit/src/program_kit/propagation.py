"""Masks of one frame, carried through a video: jobs for a propagator, and mask tracks from what it finds.

A propagator offers `Propagator.propagate`. What stands here needs no network: the key frames of tracks and the objects
of an id map become jobs, and the frames that come back become tracks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from mask_interchange.codec import check_room
from mask_interchange.errors import DatasetError
from mask_interchange.images import read_label_image
from mask_interchange.rle import empty_mask, encode_mask
from mask_interchange.track import Expression, MaskTrack, VideoMasks, soft_from_probabilities
from mask_interchange.video import Video
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt
from program_kit.python_arguments import check_video

__all__ = ["Job", "PropagatedFrame", "Propagator", "propagate_labels", "propagate_prompts", "propagate_tracks"]


class Frames(Protocol):
    """The frames of a video; `mask_interchange.Video` has more."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every frame."""
        ...

    def __len__(self) -> int: ...

    def read_frame(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        ...

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """The frames from `start` on, in order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Masks of one frame that are to be carried through the video.

    Attributes:
        key_frame: index of the frame.
        labels: integer [H, W], the object id of every pixel, 0 is background; at least one object.
    """

    key_frame: int
    labels: NDArray[np.integer]

    @property
    def object_ids(self) -> list[int]:
        """Of its objects, in ascending order."""
        return np.unique(self.labels[self.labels != 0]).tolist()

    def check(self, video: Frames) -> None:
        """Check that the job fits the video.

        Raises:
            InputError: the frame is not in the video, the mask has another size than the frames, or it is empty.
        """
        if not 0 <= self.key_frame < len(video):
            raise InputError(f"key frame {self.key_frame} is not in the video, which has frames 0 to {len(video) - 1}")
        if self.labels.shape != tuple(video.size):
            raise InputError(
                f"the mask of key frame {self.key_frame} is {_pixels(self.labels.shape)}, "
                f"the video's frames are {_pixels(video.size)} (height x width); give a mask of their size"
            )
        if not self.labels.any():
            raise InputError(f"the mask of key frame {self.key_frame} is empty: there is nothing to propagate")


class PropagatedFrame(Protocol):
    """One frame of one job, as a propagator gives it."""

    @property
    def job(self) -> int:
        """Index of the job."""
        ...

    @property
    def frame(self) -> int:
        """Index of the frame; never the job's key frame."""
        ...

    def mask(self, object_id: int | None = None) -> NDArray[np.bool_]:
        """Pixels [H, W] of an object of the job; for None those of any object, all that is not background."""
        ...

    def probability(self, object_id: int | None = None) -> NDArray[np.float32]:
        """Probability [H, W] of each pixel to belong to an object of the job; for None to any object."""
        ...

    def presence(self, object_id: int | None = None) -> float | None:
        """Probability 0..1 that an object of the job, for None any, is in the frame; None if the network tells none."""
        ...


class Propagator(Protocol):
    """A network that carries masks through a video."""

    def propagate(self, video: Video, jobs: Sequence[Job], /) -> Iterator[PropagatedFrame]:
        """Find the objects of every job in every frame but its key frame.

        Args:
            video: its frames.
            jobs: any key frames, any objects, no two alike; they come together so that work can be shared.

        Yields:
            one result for each job and frame, in any order.
        """
        ...


class PromptedPropagator(Propagator, Protocol):
    """A propagator that also finds what points and boxes show."""

    def prompted_masks(self, video: Video, prompts: Sequence[Prompt], /) -> Sequence[NDArray[np.bool_]]:
        """The mask [H, W] of each prompt in its frame."""
        ...


@runtime_checkable
class LimitedPropagator(Protocol):
    """A propagator whose memory grows with the number of objects; others need not say anything."""

    def check_memory(self, size: tuple[int, int], objects: Sequence[int], /) -> None:
        """Check that there is memory for objects, before work begins.

        Args:
            size: (H, W) of the video.
            objects: how many each job has.

        Raises:
            InputError: there is not; says how many fit.
        """
        ...


def check_memory(propagator: Propagator, video: Video, objects: Sequence[int]) -> None:
    """`LimitedPropagator.check_memory`, where the propagator has it."""
    if isinstance(propagator, LimitedPropagator):
        propagator.check_memory(video.size, objects)


@dataclass(slots=True)
class _GrowingTrack:
    """The masks of an object while its frames come in, in any order.

    Attributes:
        key_frame: index of the frame whose mask was given.
        key_mask: that mask [H, W].
        masks: encoded masks by frame; begins with the key frame's.
        object_id: the id in the job's labels; None for any object.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
        soft: these probabilities by frame.
        presence: the probability that the object is there, by frame; 1 for the key frame.
    """

    key_frame: int
    key_mask: NDArray[np.bool_]
    masks: dict[int, bytes]
    object_id: int | None
    soft_masks: int | None
    soft: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    presence: dict[int, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.presence[self.key_frame] = 1.0
        if self.soft_masks is not None:
            self._add_soft(self.key_frame, self.key_mask.astype(np.float32), self.soft_masks)

    def add(self, found: PropagatedFrame) -> None:
        self.masks[found.frame] = encode_mask(found.mask(self.object_id))
        self.presence[found.frame] = found.presence(self.object_id)
        if self.soft_masks is not None:
            self._add_soft(found.frame, found.probability(self.object_id), self.soft_masks)

    def _add_soft(self, frame: int, probability: NDArray[np.float32], longer_side: int) -> None:
        self.soft[frame] = soft_from_probabilities([probability], longer_side)[0]

    def track(self, expression: Expression, video: Video) -> MaskTrack:
        frames = range(len(video))
        scores = None if None in self.presence.values() else [self.presence[frame] for frame in frames]
        return MaskTrack(
            expression=expression,
            size=video.size,
            masks=tuple(self.masks[frame] for frame in frames),
            scores=None if scores is None else np.array(scores, np.float32),
            key_frame=self.key_frame,
            soft=np.stack([self.soft[frame] for frame in frames]) if self.soft else None,
        )


def propagate_tracks(
    propagator: Propagator,
    video: Video,
    sources: Sequence[VideoMasks],
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
) -> tuple[VideoMasks, ...]:
    """Propagate the key frame of every track of every source, all in one go.

    The key frame keeps the source's mask. A track whose key frame is empty, and every track of a video of one frame, is
    returned as it is: there is nothing to propagate. Equal masks of equal key frames are propagated once.

    Args:
        propagator: the network.
        video: the frames.
        sources: masks of this video from one or more runs; every track is one object.
        progress: called with the number of masks that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.

    Returns:
        Masks for each source.

    Raises:
        InputError: masks of other frames or of another size, a track without key frame, or too many for memory.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    growing: dict[tuple[int, bytes], _GrowingTrack] = {}
    for source in sources:
        _check_source(video, source)
        check_room(video.id, video.size, len(video), len(source.tracks), soft_masks)
        for track in source.tracks:
            key_frame = _key_frame(source, track)
            given, mask = track.masks[key_frame], track.mask(key_frame)
            if len(track) > 1 and mask.any():
                growing[key_frame, given] = _GrowingTrack(key_frame, mask, {key_frame: given}, None, soft_masks)
    jobs = [Job(track.key_frame, track.key_mask.astype(np.uint8)) for track in growing.values()]
    _propagate(propagator, video, jobs, [[track] for track in growing.values()], progress)

    def propagated(track: MaskTrack) -> MaskTrack:
        assert track.key_frame is not None  # checked above
        grown = growing.get((track.key_frame, track.masks[track.key_frame]))
        return track if grown is None else grown.track(track.expression, video)

    return tuple(_masks_of(video, [propagated(track) for track in source.tracks]) for source in sources)


def propagate_prompts(
    propagator: PromptedPropagator,
    video: Video,
    prompts: Mapping[str, Prompt],
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
) -> VideoMasks:
    """Segment what prompts point at, each in its frame, and propagate these masks; each object gets a track.

    Args:
        propagator: the network.
        video: the frames.
        prompts: by the names of the objects.
        progress: called with the number of masks that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.

    Returns:
        Tracks by the names of the objects. One whose prompt the network found nothing at is empty.

    Raises:
        InputError: a prompt does not fit the video, or there is no memory for so many objects.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    check_room(video.id, video.size, len(video), len(prompts), soft_masks)
    for name, prompt in prompts.items():
        prompt.check(name, video.size, len(video))
    check_memory(propagator, video, [1] * len(prompts))
    tracks = []
    for (name, prompt), mask in zip(
        prompts.items(), propagator.prompted_masks(video, list(prompts.values())), strict=True
    ):
        masks = [empty_mask(video.size)] * len(video)
        masks[prompt.frame] = encode_mask(mask)
        tracks.append(
            MaskTrack(expression=Expression(id=name), size=video.size, masks=tuple(masks), key_frame=prompt.frame)
        )
    (found,) = propagate_tracks(propagator, video, [_masks_of(video, tracks)], progress, soft_masks)
    return found


def propagate_labels(
    propagator: Propagator,
    video: Video,
    labels: NDArray[np.integer],
    key_frame: int = 0,
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
) -> VideoMasks:
    """Plain video object segmentation: every object of an id map gets a track, named by its id.

    Args:
        propagator: the network.
        video: the frames.
        labels: integer [H, W], the object id of every pixel, 0 is background.
        key_frame: index of the frame that `labels` belongs to.
        progress: called with the number of frames that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.

    Raises:
        InputError: the map is empty or of another size than the frames, the frame is not in the video, or there is no
            memory for so many objects.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    job = Job(key_frame, labels)
    job.check(video)
    growing: list[_GrowingTrack] = []
    check_room(video.id, video.size, len(video), len(job.object_ids), soft_masks)
    for object_id in job.object_ids:
        mask = labels == object_id
        growing.append(_GrowingTrack(key_frame, mask, {key_frame: encode_mask(mask)}, object_id, soft_masks))
    _propagate(propagator, video, [job], [growing], progress)
    return _masks_of(video, [track.track(Expression(id=str(track.object_id)), video) for track in growing])


def _propagate(
    propagator: Propagator,
    video: Video,
    jobs: Sequence[Job],
    tracks: Sequence[Sequence[_GrowingTrack]],
    progress: ProgressCallback,
) -> None:
    """Run the jobs and add what is found to the tracks of each."""
    check_memory(propagator, video, [len(objects) for objects in tracks])
    total = len(jobs) * (len(video) - 1)
    for done, found in enumerate(propagator.propagate(video, jobs), start=1):
        for track in tracks[found.job]:
            track.add(found)
        progress(done, total)


def _masks_of(video: Video, tracks: Sequence[MaskTrack]) -> VideoMasks:
    return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))


def _check_source(video: Video, source: VideoMasks) -> None:
    """Check that masks match the video."""
    if source.frame_names != video.frame_names:
        known = set(video.frame_names)
        odd = next((name for name in source.frame_names if name not in known), f"{len(source.frame_names)} frames")
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


def read_labels(path: Path, max_objects: int | None = None) -> NDArray[np.uint8]:
    """Object ids uint8 [H, W] of an indexed or grey 8-bit PNG.

    Args:
        path: the file; pixel values are ids, 0 is background.
        max_objects: the highest id that is allowed; None for any.

    Raises:
        InputError: not such an image, no object in it, or an id above `max_objects`.
    """
    try:
        labels, _ = read_label_image(path)
    except DatasetError as error:
        raise InputError(str(error)) from error
    highest = int(labels.max(initial=0))
    if highest == 0:
        raise InputError(f"{path}: expected at least one object, all pixels are background")
    if max_objects is not None and highest > max_objects:
        raise InputError(
            f"{path}: object id {highest} is beyond the network's limit, ids are 1 to {max_objects}; renumber the mask "
            "(255 often marks pixels to ignore: set them to 0), or give --more-objects to run several sets of "
            f"{max_objects} objects side by side"
        )
    return labels


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
