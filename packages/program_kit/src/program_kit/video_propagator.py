"""What the Python classes of all propagators offer, beside the way that each of them loads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video
from numpy.typing import NDArray

from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt
from program_kit.propagation import propagate_labels, propagate_prompts, propagate_tracks
from program_kit.propagator import Job, PropagatedFrame
from program_kit.stretch import ALL


class VideoPropagator(Protocol):
    """Carries masks of a few frames both ways through a video; a class with `propagate` derives from this."""

    def propagate(self, video: Any, jobs: Sequence[Job], /) -> Iterator[PropagatedFrame]:
        """As in `propagator.Propagator`."""
        ...

    def propagate_tracks(
        self,
        video: Video,
        masks: VideoMasks,
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
        *,
        frames: slice = ALL,
        every_mask: bool = False,
    ) -> VideoMasks:
        """Propagate the key frame of every track; the key frames keep their masks.

        Args:
            video: the frames.
            masks: of this video; every track is one object.
            progress: called with the number of masks that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.
            frames: those to make, as `slice(10, 40)`; the others keep their masks.
            every_mask: start from every mask of a track that is not empty, not only from that of the key frame.

        Returns:
            A track for each. A network that tells whether an object is there gives that probability as scores; with
            several masks to start from, scores are how far both ways agree.

        Raises:
            InputError: masks of other frames or of another size, a track without key frame, no such frames, or no
                memory for so many objects.
            MaskError: the probabilities are more than a file can hold.
            TypeError: a path in place of a video.
        """
        (propagated,) = propagate_tracks(
            self, video, [masks], progress, soft_masks, frames=frames, every_mask=every_mask
        )
        return propagated

    def propagate_labels(
        self,
        video: Video,
        labels: NDArray[np.integer],
        key_frame: int = 0,
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
        *,
        more: Mapping[int, NDArray[np.integer]] | None = None,
        frames: slice = ALL,
    ) -> VideoMasks:
        """Propagate the objects of one frame, or of several; each gets a track, named by its id.

        Args:
            video: the frames.
            labels: integer [H, W], the object id of every pixel, 0 is background.
            key_frame: index of the frame that `labels` belongs to.
            progress: called with the number of masks that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.
            more: labels of further frames, by their indices.
            frames: those to make, as `slice(10, 40)`; the others are empty.

        Raises:
            InputError: labels are empty or of another size than the frames, their frame is not in the video or not
                among `frames`, or there is no memory for so many objects.
            MaskError: the probabilities are more than a file can hold.
            TypeError: a path in place of a video.
        """
        return propagate_labels(self, video, labels, key_frame, progress, soft_masks, more=more, frames=frames)


class PromptedVideoPropagator(VideoPropagator, Protocol):
    """The same for a network that also finds what points and boxes show."""

    def prompted_masks(self, video: Any, prompts: Sequence[Prompt], /) -> Sequence[NDArray[np.bool_]]:
        """As in `propagator.PromptedPropagator`."""
        ...

    def propagate_prompts(
        self,
        video: Video,
        prompts: Mapping[str, Prompt],
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
        *,
        frames: slice = ALL,
    ) -> VideoMasks:
        """Find what points and boxes show, each in its frame, and propagate it.

        Args:
            video: the frames.
            prompts: by the names of the objects, which become the ids of the tracks.
            progress: called with the number of masks that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.
            frames: those to make, as `slice(10, 40)`; the others are empty.

        Raises:
            InputError: a prompt does not fit the video or these frames, or there is no memory for so many objects.
            MaskError: the probabilities are more than a file can hold.
            TypeError: a path in place of a video.
        """
        return propagate_prompts(self, video, prompts, progress, soft_masks, frames=frames)
