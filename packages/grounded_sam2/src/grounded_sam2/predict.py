"""From weights to masks.

from grounded_sam2 import SAM2Propagator

propagator = SAM2Propagator.load("sam2.1-hiera-base-plus")  # the folder; `video`: open_video("clip.mp4").videos["clip"]
masks = propagator.propagate_labels(video, labels)  # labels: integer [H, W], the objects of frame 0
masks.track("1").mask(7)  # bool [H, W], object 1 in frame 7
"""

from pathlib import Path
from typing import Self

from program_kit.options import Precision
from program_kit.torch.device import choose_device
from program_kit.video_propagator import PromptedVideoPropagator
from program_kit.weights import TakesWeights, choose_network
from torch.nn import Module

from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from grounded_sam2.config import SAM2
from grounded_sam2.propagate import DEFAULT_CACHE, Propagator


class SAM2Propagator(Propagator, PromptedVideoPropagator):
    """SAM 2.1, segment anything in images and videos; begin with `load`."""

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "strict",
        cache_bytes: int = DEFAULT_CACHE,
    ) -> Self:
        """Load a network.

        Args:
            checkpoint: folder with the published `config.json` and `model.safetensors`. Without, and without a seed,
                published weights in the user's folder (`uv run fusion-core weights fetch`).
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `grounded_sam2.config.SAM2`; the first by default.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: as `program_kit.torch.precision` has it.
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
