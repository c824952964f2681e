"""From weights to masks: a network and its procedure.

from cutie import CutiePropagator

propagator = CutiePropagator.load("cutie-base-mega.pth")
video = mask_interchange.open_video("clip.mp4").videos["clip"]
masks = propagator.propagate_labels(video, labels)  # labels: integer [H, W], the objects of frame 0
masks.track("1").mask(7)  # bool [H, W], object 1 in frame 7
"""

from pathlib import Path
from typing import Self

from program_kit.options import Precision
from program_kit.torch.device import choose_device
from program_kit.video_propagator import VideoPropagator
from program_kit.weights import TakesWeights, choose_network

from cutie.checkpoint import CHECKPOINTS
from cutie.config import CONFIGS
from cutie.propagate import DEFAULT_CACHE, Propagator
from cutie.settings import PropagationSettings


class CutiePropagator(Propagator, VideoPropagator):
    """Carries masks of one frame both ways through a video; begin with `load`."""

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "strict",
        settings: PropagationSettings | None = None,
        batch: int = 64,
        cache_bytes: int = DEFAULT_CACHE,
    ) -> Self:
        """Load a network from a file, or make one with random weights.

        Args:
            checkpoint: published or converted weights. Without, and without a seed, the published ones that
                `uv run fusion-core weights fetch cutie-base-mega` placed in the user's folder.
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `cutie.config.CONFIGS`; the first by default.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: as `program_kit.torch.precision` has it.
            settings: the procedure; None for the default one.
            batch: most objects that go through a video together; bounds the memory for their states.
            cache_bytes: budget for features of frames that both sweeps need.

        Raises:
            WeightsError: no such configuration or file, no weights, or both a checkpoint and a seed.
            CheckpointError: the file cannot be read safely, or is not of this network.
            DeviceError: this machine does not have the device.
        """
        file = None if checkpoint is None else Path(checkpoint)
        takes = TakesWeights(name="cutie-propagate", configs=tuple(CONFIGS))
        name, weights = choose_network(takes, config, file, None if seed is None else f"random:{seed}")
        network = CHECKPOINTS.network(name, weights)
        return cls(
            network.eval().requires_grad_(False).to(choose_device(device)),
            settings or PropagationSettings(),
            cache_bytes=cache_bytes,
            batch=batch,
            precision=precision,
        )
