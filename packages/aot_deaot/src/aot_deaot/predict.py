"""From weights to masks: a network and its procedure.

from aot_deaot import AOTPropagator

propagator = AOTPropagator.load("aot_swin_l.pth")  # `video`: mask_interchange.open_video("clip.mp4").videos["clip"]
masks = propagator.propagate_labels(video, labels)  # labels: integer [H, W], the objects of frame 0
masks.track("1").mask(7)  # bool [H, W], object 1 in frame 7
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from program_kit.options import Precision
from program_kit.torch.device import choose_device
from program_kit.video_propagator import VideoPropagator
from program_kit.weights import TakesWeights, choose_network

from aot_deaot.bundled import BUNDLED
from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import CONFIGS, Family, NetworkConfig, named_config
from aot_deaot.propagate import Propagator
from aot_deaot.settings import DEFAULT_CACHE, PropagationSettings, corrected


class ModelPropagator(Propagator, VideoPropagator):
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
        precision: Precision = "strict",
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
            precision: as `program_kit.torch.precision` has it.
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


class AOTPropagator(ModelPropagator):
    """AOT, associating objects with transformers; begin with `load`."""

    family = "aot"


class DeAOTPropagator(ModelPropagator):
    """DeAOT, with separate branches for appearance and identity; begin with `load`."""

    family = "deaot"
