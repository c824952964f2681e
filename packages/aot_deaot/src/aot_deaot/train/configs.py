"""How a propagator is trained, as data. What has a default has the published one, of the training on videos.

Section 5.1 of the AOT paper; `configs/default.py` of the published code.
"""

from dataclasses import dataclass

from rvos_training.loop.train_config import Course
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

POWER = 0.9  # of the polynomial by which rates fall
ENCODER = "encoder."


@dataclass(frozen=True, slots=True, kw_only=True)
class FallingRates:
    """AdamW whose rates rise for a moment and then fall to the end of the training, epoch by epoch.

    Attributes:
        rate: the highest learning rate.
        encoder: share of it that the image encoder gets.
        floor: share of it that is left at the end.
        rising: epochs until it is reached.
        falling: epochs until the floor is reached, the rising ones included.
        weight_decay: on every parameter with more than one dimension.
        gradient_norm: largest norm of the whole gradient; longer ones are shortened to it.
    """

    rate: float = 2e-4
    encoder: float = 0.1
    floor: float = 0.1
    rising: int = 1
    falling: int
    weight_decay: float = 0.07
    gradient_norm: float = 5.0

    def __post_init__(self) -> None:
        if min(self.rate, self.encoder, self.gradient_norm) <= 0 or self.weight_decay < 0:
            raise ValueError(f"rates and the gradient's norm must be positive, weight decay not negative: {self}")
        if not 0 <= self.rising <= self.falling or not 0 <= self.floor <= 1:
            raise ValueError(f"rates rise before they fall, to a share of the highest from 0 to 1: {self}")

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over four groups: encoder and rest, with weight decay and without."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            groups.setdefault((name.startswith(ENCODER), parameter.ndim > 1), []).append(parameter)
        return AdamW(
            {
                "params": parameters,
                "lr": self.rate * (self.encoder if encoder else 1),
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (encoder, decays), parameters in groups.items()
        )

    def schedule(self, optimizer: AdamW) -> LRScheduler:
        """To be stepped once an epoch."""
        return LambdaLR(optimizer, self.share)

    def share(self, epoch: int) -> float:
        """The share of the highest rate that is used in an epoch, from 0."""
        if epoch < self.rising:
            return (epoch + 1) / (self.rising + 1)
        left = max(0.0, 1 - (epoch - self.rising) / max(1, self.falling - self.rising))
        return self.floor + (1 - self.floor) * left**POWER


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationRecipe(Course):
    """What clips are made of, for how long to train on them, and how.

    Attributes:
        optimisation: rates and so on.
        samples: clips of an epoch.
        frames: of a clip.
        longest_step: most frames from one frame of a clip to the next.
        scales: of the frames, of which a batch gets one.
        hardest, reference: of `objective.PropagationCriterion`.
    """

    optimisation: FallingRates
    samples: int
    frames: int = 5
    longest_step: int = 3
    scales: tuple[float, ...] = (0.8, 1.0, 1.2)
    hardest: float = 0.15
    reference: float = 0.0

    def __post_init__(self) -> None:
        Course.__post_init__(self)
        if self.frames < 2:
            raise ValueError(f"frames must be at least 2, the given one and one to segment, not {self.frames}")
        for name in ("samples", "longest_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be one or more positive numbers, not {self.scales}")
