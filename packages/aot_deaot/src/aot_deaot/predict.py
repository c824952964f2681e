"""From weights to masks: a network and its procedure.

from aot_deaot import AOTPropagator

propagator = AOTPropagator.load("aot_swin_l.pth")  # `video`: mask_interchange.open_video("clip.mp4").videos["clip"]
masks = propagator.propagate_labels(video, labels)  # labels: integer [H, W], the objects of frame 0
masks.track("1").mask(7)  # bool [H, W], object 1 in frame 7
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video
from numpy.typing import NDArray
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.propagation import propagate_labels, propagate_tracks
from program_kit.torch.device import choose_device
from program_kit.weights import TakesWeights, choose_network

from aot_deaot.bundled import BUNDLED
from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import CONFIGS, Family, NetworkConfig, named_config
from aot_deaot.propagate import Propagator
from aot_deaot.settings import DEFAULT_CACHE, PropagationSettings, corrected


class ModelPropagator(Propagator):
    """Carries masks of one frame both ways through a video. The two families derive from it.

    Attributes:
        family: whose configurations and weights are loaded.
    """

    family: ClassVar[Family]

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        settings: Callable[[NetworkConfig], PropagationSettings] = corrected,
        batch: int = 4,
        cache_bytes: int = DEFAULT_CACHE,
        compiled: bool = False,
    ) -> Self:
        """Load a network.

        Args:
            checkpoint: published or converted weights. Without, and without a seed, the weights that the package ships.
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `aot_deaot.config.CONFIGS[family]`; by default the one that the
                checkpoint names, that of the shipped weights for these, else the first.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: `float16` and `bfloat16` run the network under autocast.
            settings: gives the procedure for a configuration: `corrected`, `faithful`, or a function of your own.
            batch: most object sets that go through a video together; bounds the memory for their states.
            cache_bytes: budget for features of frames.
            compiled: run the network through `torch.compile`.

        Raises:
            WeightsError: no such configuration or file, or both a checkpoint and a seed.
            CheckpointError: the file cannot be read safely, or is not of this network.
            DeviceError: this machine does not have the device.
        """
        file = None if checkpoint is None else Path(checkpoint)
        takes = TakesWeights(
            name=f"{cls.family}-propagate", configs=tuple(CONFIGS[cls.family]), bundled=(BUNDLED[cls.family],)
        )
        name, weights = choose_network(takes, config, file, None if seed is None else f"random:{seed}")
        shape = named_config(cls.family, name)
        network = CHECKPOINTS[cls.family].network(name, weights)
        return cls(
            network.eval().requires_grad_(False).to(choose_device(device)),
            settings(shape),
            cache_bytes=cache_bytes,
            batch=batch,
            precision=precision,
            compiled=compiled,
        )

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

        Raises:
            InputError: masks of other frames or of another size, or a track without key frame.
        """
        (propagated,) = propagate_tracks(self, video, [masks], progress, soft_masks)
        return propagated

    def propagate_labels(
        self,
        video: Video,
        labels: NDArray[np.integer],
        key_frame: int = 0,
        progress: ProgressCallback = lambda done, total: None,
        soft_masks: int | None = None,
    ) -> VideoMasks:
        """Propagate the objects of one frame; each gets a track, named by its id.

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


class AOTPropagator(ModelPropagator):
    """AOT, associating objects with transformers; begin with `load`."""

    family = "aot"


class DeAOTPropagator(ModelPropagator):
    """DeAOT, with separate branches for appearance and identity; begin with `load`."""

    family = "deaot"
