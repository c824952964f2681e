"""Ground truth masks of the first frame that shows an object, which a propagator gets when it is scored."""

from pathlib import Path

import numpy as np
from mask_interchange import MaskTrack, Video, VideoMasks
from program_kit.propagation import propagate_tracks
from rvos_training.data.object_presence import labels_of, read_labels

from aot_deaot.propagate import Propagator


def first_masks(annotations: Path, video: Video) -> VideoMasks:
    """A track for every expression: the mask of the first frame that shows its object, nothing on all others.

    Args:
        annotations: folder of `<video>/<frame>.png`.
        video: the `group` of an expression names its object.

    Raises:
        DatasetError: an annotation is missing or unreadable; says which.
        TrainingError: the data set does not tell which object an expression refers to.
    """
    labels = np.stack([read_labels(annotations, video, frame) for frame in range(len(video))])
    tracks = []
    for expression in video.expressions:
        masks = np.isin(labels, [int(label) for label in labels_of(expression, video.id)])
        first = int(masks.any(axis=(1, 2)).argmax())
        masks[np.arange(len(masks)) != first] = False
        tracks.append(MaskTrack.from_masks(expression, masks, key_frame=first))
    return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))


class FirstMaskPropagator:
    """Propagates the masks of first frames through a video; the predictor of validations.

    Args:
        propagator: of the network in training.
        annotations: as in `first_masks`.
    """

    def __init__(self, propagator: Propagator, annotations: Path) -> None:
        self.propagator = propagator
        self.annotations = annotations

    def predict(self, video: Video) -> VideoMasks:
        """All tracks of the video."""
        (masks,) = propagate_tracks(self.propagator, video, [first_masks(self.annotations, video)])
        return masks
