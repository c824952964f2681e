"""AdamW and its learning rates, as data."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

# How names of parameters begin: the first in SOC, ReferFormer and MUTR, the second in UNINEXT.
BACKBONE, TEXT_ENCODER = ("video.backbone.", "backbone."), ("text.roberta.", "text_encoder.")
REST = ("",)


class Optimisation(Protocol):
    """How parameters are updated."""

    @property
    def max_grad_norm(self) -> float:
        """Largest norm of the whole gradient; a longer one is scaled down to it."""
        ...

    @property
    def fixed(self) -> dict[str, Any]:
        """What must stay the same when a training resumes: all but the learning rates."""
        ...

    def optimizer(self, model: nn.Module) -> AdamW:
        """The optimizer of a network's parameters."""
        ...

    def schedule(self, optimizer: AdamW) -> LRScheduler:
        """The learning rates' schedule, stepped after every epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiStepOptimisation:
    """AdamW whose learning rates are divided by ten at milestones.

    Attributes:
        lr: learning rate of all parameters that are not named below.
        backbone_lr: of the backbone.
        text_encoder_lr: of the text encoder (without the projection after it); None freezes the text encoder.
        weight_decay: of every parameter.
        max_grad_norm: largest norm of the whole gradient; a longer one is scaled down to it.
        lr_milestones: epochs after which all learning rates are divided by ten.

    Raises:
        ValueError: a number is out of range, or the milestones do not increase; says which.
    """

    lr: float
    backbone_lr: float
    text_encoder_lr: float | None
    weight_decay: float
    max_grad_norm: float
    lr_milestones: tuple[int, ...]

    def __post_init__(self) -> None:
        positive = [self.lr, self.backbone_lr, self.max_grad_norm]
        positive += [] if self.text_encoder_lr is None else [self.text_encoder_lr]
        if not all(0 < number < math.inf for number in positive) or self.weight_decay < 0:
            raise ValueError(f"lr and max_grad_norm must be positive, weight_decay must not be negative: {self}")
        if list(self.lr_milestones) != sorted(set(self.lr_milestones)) or min(self.lr_milestones, default=1) < 1:
            raise ValueError(f"lr_milestones must be increasing epochs from 1 on, not {self.lr_milestones}")

    @property
    def fixed(self) -> dict[str, Any]:
        """What must stay the same when a training resumes."""
        return {
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
            "trains the text encoder": self.text_encoder_lr is not None,
        }

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over three groups: the rest, backbone, text encoder. A frozen text encoder gets no gradients."""
        rates = {REST: self.lr, BACKBONE: self.backbone_lr, TEXT_ENCODER: self.text_encoder_lr}
        groups: dict[tuple[str, ...], list[nn.Parameter]] = {part: [] for part in rates}
        for name, parameter in model.named_parameters():
            groups[next(part for part in (BACKBONE, TEXT_ENCODER, REST) if name.startswith(part))].append(parameter)
        if self.text_encoder_lr is None:
            for parameter in groups[TEXT_ENCODER]:
                parameter.requires_grad_(False)
        return AdamW(
            [{"params": groups[part], "lr": rate} for part, rate in rates.items() if rate is not None],
            weight_decay=self.weight_decay,
        )

    def schedule(self, optimizer: AdamW) -> MultiStepLR:
        """The schedule, stepped after every epoch."""
        return MultiStepLR(optimizer, list(self.lr_milestones), gamma=0.1)
