"""Masks of a few frames, carried through a video: jobs for a propagator, and mask tracks from what it finds.

What stands here needs no network: the key frames of tracks and the objects of id maps become jobs for a `Propagator`,
and the frames that come back become tracks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mask_interchange.codec import check_room
from mask_interchange.errors import DatasetError
from mask_interchange.images import read_label_image
from mask_interchange.rle import decode_mask, empty_mask, encode_mask
from mask_interchange.track import Expression, MaskTrack, VideoMasks, soft_from_probabilities
from mask_interchange.video import Video
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.grown_track import GrownTrack
from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt
from program_kit.propagator import (
    ExpectingPropagator,
    Frames,
    Job,
    LimitedPropagator,
    PromptedPropagator,
    Propagator,
)
from program_kit.python_arguments import check_video
from program_kit.stretch import ALL, Stretch, check_in_stretch, stretch_of

__all__ = ["propagate_labels", "propagate_prompts", "propagate_tracks"]


def check_memory(propagator: Propagator, video: Video, objects: Sequence[int], references: int = 1) -> None:
    """`LimitedPropagator.check_memory`, where the propagator has it."""
    if isinstance(propagator, LimitedPropagator):
        propagator.check_memory(video.size, objects, references)


def expect_tracks(
    propagator: Propagator, video: Video, sources: Callable[[], Sequence[VideoMasks]], frames: slice, every_mask: bool
) -> None:
    """Let a propagator begin to read the video that `propagate_tracks` gets next, where it can do so.

    Args:
        propagator: the network.
        video: the frames.
        sources: gives its masks; called by a thread, which leaves faults in them to `propagate_tracks`.
        frames, every_mask: as `propagate_tracks` has them.
    """

    def begin() -> tuple[Frames, int]:
        stretch = stretch_of(video, frames)
        given = (_references(source, track, stretch, every_mask) for source in sources() for track in source.tracks)
        return _part(video, stretch), min(min(masks) for masks in given if masks) - stretch.start

    if isinstance(propagator, ExpectingPropagator):
        propagator.expect(begin)


def propagate_tracks(
    propagator: Propagator,
    video: Video,
    sources: Sequence[VideoMasks],
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
    *,
    frames: slice = ALL,
    every_mask: bool = False,
) -> tuple[VideoMasks, ...]:
    """Propagate the key frame of every track of every source, all in one go.

    The references keep the source's masks, and so do frames that are not asked for. A track whose key frame is empty or
    not among the frames, and every track where there is no other frame, is returned as it is: there is nothing to
    propagate. Equal references are propagated once.

    Args:
        propagator: the network.
        video: the frames.
        sources: masks of this video from one or more runs; every track is one object.
        progress: called with the number of masks that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
        frames: those to make, as `slice(10, 40)`.
        every_mask: take every mask of a track that is not empty as a reference, not only that of the key frame, which
            a track then need not have. Scores of a track with several references tell for each frame how far both
            ways agree (IoU); 1 where there is one way.

    Returns:
        Masks for each source.

    Raises:
        InputError: masks of other frames or of another size, a track without key frame, no such frames, or too many
            objects for memory.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    stretch = stretch_of(video, frames)
    growing: dict[tuple[tuple[int, bytes], ...], GrownTrack] = {}

    for source in sources:
        _check_source(video, source)
        check_room(video.id, video.size, len(video), len(source.tracks), soft_masks)
        for track in source.tracks:
            if given := _references(source, track, stretch, every_mask):
                growing[tuple(given.items())] = GrownTrack(video.size, stretch, given, None, soft_masks)
    jobs = [
        _job(stretch, {frame: decode_mask(mask, video.size).astype(np.uint8) for frame, mask in given})
        for given in growing
    ]
    _propagate(propagator, video, stretch, jobs, [[track] for track in growing.values()], progress)

    def propagated(source: VideoMasks, track: MaskTrack) -> MaskTrack:
        given = _references(source, track, stretch, every_mask)
        if not given:
            return track if soft_masks is None else _with_soft_masks(track, soft_masks)
        key_frame = track.key_frame if track.key_frame in given else min(given)
        return growing[tuple(given.items())].track(track.expression, key_frame, track.masks)

    return tuple(_masks_of(video, [propagated(source, track) for track in source.tracks]) for source in sources)


def propagate_prompts(
    propagator: PromptedPropagator,
    video: Video,
    prompts: Mapping[str, Prompt],
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
    *,
    frames: slice = ALL,
) -> VideoMasks:
    """Segment what prompts point at, each in its frame, and propagate these masks; each object gets a track.

    Args:
        propagator: the network.
        video: the frames.
        prompts: by the names of the objects.
        progress: called with the number of masks that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
        frames: those to make, as `slice(10, 40)`; the others are empty.

    Returns:
        Tracks by the names of the objects. One whose prompt the network found nothing at is empty.

    Raises:
        InputError: a prompt does not fit the video or is not in these frames, or there is no memory for so many
            objects.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    check_room(video.id, video.size, len(video), len(prompts), soft_masks)
    for name, prompt in prompts.items():
        prompt.check(name, video.size, len(video))
        check_in_stretch(stretch_of(video, frames), prompt.frame)
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
    (found,) = propagate_tracks(propagator, video, [_masks_of(video, tracks)], progress, soft_masks, frames=frames)
    return found


def propagate_labels(
    propagator: Propagator,
    video: Video,
    labels: NDArray[np.integer],
    key_frame: int = 0,
    progress: ProgressCallback = lambda done, total: None,
    soft_masks: int | None = None,
    *,
    more: Mapping[int, NDArray[np.integer]] | None = None,
    frames: slice = ALL,
) -> VideoMasks:
    """Plain video object segmentation: every object of an id map gets a track, named by its id.

    Args:
        propagator: the network.
        video: the frames.
        labels: integer [H, W], the object id of every pixel, 0 is background.
        key_frame: index of the frame that `labels` belongs to.
        progress: called with the number of masks that are done, and of all.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
        more: labels of further frames, by their indices.
        frames: those to make, as `slice(10, 40)`; the others are empty.

    Raises:
        InputError: a map is empty or of another size than the frames, its frame is not in the video or not among
            `frames`, or there is no memory for so many objects.
        MaskError: the probabilities are more than a file can hold.
        TypeError: a path in place of a video.
    """
    check_video(video)
    stretch = stretch_of(video, frames)
    job = Job(key_frame, labels, more or {})
    job.check(video)
    for frame in job.references:
        check_in_stretch(stretch, frame)
    growing: list[GrownTrack] = []
    check_room(video.id, video.size, len(video), len(job.object_ids), soft_masks)
    for object_id in job.object_ids:
        given = {frame: encode_mask(of_frame == object_id) for frame, of_frame in job.references.items()}
        growing.append(GrownTrack(video.size, stretch, given, object_id, soft_masks))
    _propagate(propagator, video, stretch, [_job(stretch, job.references)], [growing], progress)
    nothing = [empty_mask(video.size)] * len(video)
    tracks = []
    for object_id, track in zip(job.object_ids, growing, strict=True):
        first_there = next(frame for frame in (key_frame, *track.given) if track.given[frame] != nothing[0])
        tracks.append(track.track(Expression(id=str(object_id)), first_there, nothing))
    return _masks_of(video, tracks)


def _with_soft_masks(track: MaskTrack, longest: int) -> MaskTrack:
    """A track that nothing is found of, with probabilities 0 and 1 where it has none."""
    if track.soft is not None:
        return track
    masks = (decode_mask(mask, track.size).astype(np.float32) for mask in track.masks)
    return replace(track, soft=soft_from_probabilities(masks, longest))


def _references(source: VideoMasks, track: MaskTrack, stretch: range, every_mask: bool) -> dict[int, bytes]:
    """The masks that a track is propagated from, by their frames; none where there is nothing to propagate."""
    wanted = stretch if every_mask else {_key_frame(source, track)} & {*stretch}
    given = {frame: track.masks[frame] for frame in wanted if track.masks[frame] != empty_mask(source.size)}
    return given if len(given) < len(stretch) else {}


def _part(video: Video, stretch: range) -> Frames:
    return video if len(stretch) == len(video) else Stretch(video, stretch)


def _job(stretch: range, labels: Mapping[int, NDArray[np.integer]]) -> Job:
    """A job for the frames of a stretch, which are counted from its first."""
    first, *more = labels
    return Job(first - stretch.start, labels[first], {frame - stretch.start: labels[frame] for frame in more})


def _propagate(
    propagator: Propagator,
    video: Video,
    stretch: range,
    jobs: Sequence[Job],
    tracks: Sequence[Sequence[GrownTrack]],
    progress: ProgressCallback,
) -> None:
    """Run the jobs on some frames of the video, and add what is found to the tracks of each."""
    if not jobs:
        return
    references = [[*job.references] for job in jobs]
    check_memory(propagator, video, [len(objects) for objects in tracks], max(map(len, references)))
    twice = sum(frames[-1] - frames[0] + 1 - len(frames) for frames in references)
    total = sum(len(stretch) - len(frames) for frames in references) + twice
    for done, found in enumerate(propagator.propagate(_part(video, stretch), jobs), start=1):
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
        path: the file; pixel values are ids, 0 is background. A grey picture of 0 and 255 only shows object 1.
        max_objects: the highest id that is allowed; None for any.

    Raises:
        InputError: not such an image, no object in it, or an id above `max_objects`.
    """
    try:
        labels, has_palette = read_label_image(path)
    except DatasetError as error:
        raise InputError(str(error)) from error
    if not has_palette and np.isin(labels, (0, 255)).all():
        labels = np.minimum(labels, 1)
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
