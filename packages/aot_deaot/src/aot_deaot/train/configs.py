"""How a propagator is trained, as data. The defaults are those of the published training on videos.

Section 5.1 of the AOT paper; `configs/default.py` of the published code.
"""

from dataclasses import dataclass
from typing import Any

from rvos_training.loop.train_config import TrainConfig
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

POWER = 0.9  # of the polynomial decay of learning rates
ENCODER = "encoder."  # how names of the image encoder's parameters begin


@dataclass(frozen=True, slots=True, kw_only=True)
class PolynomialOptimisation:
    """AdamW with warm-up and polynomial decay of the learning rates, epoch by epoch.

    Attributes:
        lr: the highest learning rate.
        encoder_lr_scale: learning rate of the image encoder, as a fraction of `lr`.
        min_lr_scale: learning rate at the end, as a fraction of `lr`.
        warmup_epochs: epochs until `lr` is reached.
        total_epochs: epochs until the end of the decay, warm-up included.
        weight_decay: of every parameter with more than one dimension.
        max_grad_norm: largest norm of the whole gradient; a longer one is scaled down to it.

    Raises:
        ValueError: a number is out of range.
    """

    lr: float = 2e-4
    encoder_lr_scale: float = 0.1
    min_lr_scale: float = 0.1
    warmup_epochs: int = 1
    total_epochs: int
    weight_decay: float = 0.07
    max_grad_norm: float = 5.0

    def __post_init__(self) -> None:
        if min(self.lr, self.encoder_lr_scale, self.max_grad_norm) <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"lr, encoder_lr_scale and max_grad_norm must be positive, weight_decay must not be negative: {self}"
            )
        if not 0 <= self.warmup_epochs <= self.total_epochs or not 0 <= self.min_lr_scale <= 1:
            raise ValueError(f"warmup_epochs must be from 0 to total_epochs, and min_lr_scale from 0 to 1: {self}")

    @property
    def fixed(self) -> dict[str, Any]:
        """What must stay the same when a training resumes."""
        return {"weight_decay": self.weight_decay, "max_grad_norm": self.max_grad_norm}

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over four groups: encoder and rest, with weight decay and without."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            groups.setdefault((name.startswith(ENCODER), parameter.ndim > 1), []).append(parameter)
        return AdamW(
            {
                "params": parameters,
                "lr": self.lr * (self.encoder_lr_scale if encoder else 1),
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for (encoder, decays), parameters in groups.items()
        )

    def schedule(self, optimizer: AdamW) -> LRScheduler:
        """The schedule, stepped after every epoch."""
        return LambdaLR(optimizer, self.lr_scale)

    def lr_scale(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0, as a fraction of the highest."""
        if epoch < self.warmup_epochs:
            return (epoch + 1) / (self.warmup_epochs + 1)
        left = max(0.0, 1 - (epoch - self.warmup_epochs) / max(1, self.total_epochs - self.warmup_epochs))
        return self.min_lr_scale + (1 - self.min_lr_scale) * left**POWER


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationTrainConfig(TrainConfig):
    """What clips a propagator is trained on, how long and how.

    Attributes:
        optimisation: the optimizer and its learning rates.
        samples: clips of an epoch.
        frames: of a clip.
        max_step: largest distance from one frame of a clip to the next.
        scales: scales of the frames; each batch gets one of them at random.
        top_k_fraction, reference_weight: of `objective.PropagationCriterion`.

    Raises:
        ValueError: a value is out of range; says which.
    """

    optimisation: PolynomialOptimisation
    samples: int
    frames: int = 5
    max_step: int = 3
    scales: tuple[float, ...] = (0.8, 1.0, 1.2)
    top_k_fraction: float = 0.15
    reference_weight: float = 0.0

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.frames < 2:
            raise ValueError(f"frames must be at least 2, one with masks and one to segment, not {self.frames}")
        for name in ("samples", "max_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be one or more positive numbers, not {self.scales}")
