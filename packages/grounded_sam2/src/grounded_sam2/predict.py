"""From weights to masks.

from grounded_sam2 import SAM2Propagator

propagator = SAM2Propagator.load("sam2.1-hiera-base-plus")  # the folder; `video`: open_video("clip.mp4").videos["clip"]
masks = propagator.propagate_labels(video, labels)  # labels: integer [H, W], the objects of frame 0
masks.track("1").mask(7)  # bool [H, W], object 1 in frame 7
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video
from numpy.typing import NDArray
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt
from program_kit.propagation import propagate_labels, propagate_prompts, propagate_tracks
from program_kit.torch.device import choose_device
from program_kit.weights import TakesWeights, choose_network
from torch.nn import Module

from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from grounded_sam2.config import SAM2
from grounded_sam2.propagate import DEFAULT_CACHE, Propagator


class SAM2Propagator(Propagator):
    """SAM 2.1, segment anything in images and videos; begin with `load`."""

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        cache_bytes: int = DEFAULT_CACHE,
    ) -> Self:
        """Load a network.

        Args:
            checkpoint: folder with the published `config.json` and `model.safetensors`. Without, and without a seed,
                published weights in the user's folder (`fusion-core weights fetch`).
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `grounded_sam2.config.SAM2`; the first by default.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: `float16` and `bfloat16` run the network under autocast.
            cache_bytes: budget for features of frames.

        Raises:
            WeightsError: no such configuration or folder, or no choice of weights.
            CheckpointError: the folder lacks a file, or it is damaged or not of this network.
            DeviceError: this machine does not have the device.
        """
        folder = None if checkpoint is None else Path(checkpoint)
        takes = TakesWeights(name="sam2-propagate", configs=tuple(SAM2), checkpoint="folder")
        name, weights = choose_network(takes, config, folder, None if seed is None else f"random:{seed}")
        network = SAM2_CHECKPOINTS.load(name, weights.checkpoint, weights.seed)
        Module.to(network, choose_device(device))
        return cls(network, precision=precision, cache_bytes=cache_bytes)

    def propagate_tracks(
        self,
        video: Video,
        masks: VideoMasks,
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
    ) -> VideoMasks:
        """Propagate the key frame of every track; the key frames keep their masks.

        Args:
            video: the frames.
            masks: of this video; every track is one object.
            progress: called with the number of masks that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.

        Returns:
            Tracks whose scores are the probability that the object is there, 1 in the key frame.

        Raises:
            InputError: masks of other frames or of another size, or a track without key frame.
        """
        (propagated,) = propagate_tracks(self, video, [masks], progress, soft_masks)
        return propagated

    def propagate_prompts(
        self,
        video: Video,
        prompts: Mapping[str, Prompt],
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
    ) -> VideoMasks:
        """Find what points and boxes show, each in its frame, and propagate it.

        Args:
            video: the frames.
            prompts: by the names of the objects, which become the ids of the tracks.
            progress: called with the number of masks that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.

        Raises:
            InputError: a prompt does not fit the video.
        """
        return propagate_prompts(self, video, prompts, progress, soft_masks)

    def propagate_labels(
        self,
        video: Video,
        labels: NDArray[np.integer],
        key_frame: int = 0,
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
    ) -> VideoMasks:
        """Propagate the objects of one frame; each gets a track, named by its id. Tracks may overlap.

        Args:
            video: the frames.
            labels: integer [H, W], the object id of every pixel, 0 is background.
            key_frame: index of the frame that `labels` belongs to.
            progress: called with the number of frames that are done, and of all.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.

        Raises:
            InputError: the labels are empty or of another size than the frames, or the frame is not in the video.
        """
        return propagate_labels(self, video, labels, key_frame, progress, soft_masks)
