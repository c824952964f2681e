"""AdamW with the published learning rates, clipping and steps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

# Names of parameters begin so: the first in SOC, ReferFormer and MUTR, the second in UNINEXT.
BACKBONE, TEXT_ENCODER = ("video.backbone.", "backbone."), ("text.roberta.", "text_encoder.")
REST = ("",)


class Rates(Protocol):
    """How weights move."""

    @property
    def gradient_norm(self) -> float:
        """Largest norm of the whole gradient; longer ones are shortened to it."""
        ...

    def optimizer(self, model: nn.Module) -> AdamW:
        """Over the parameters of a network."""
        ...

    def schedule(self, optimizer: AdamW) -> LRScheduler:
        """To be stepped once an epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimisation:
    """How weights move.

    Attributes:
        rate: learning rate of all that is not named below.
        backbone_rate: of the backbone.
        text_rate: of the text encoder (without the projection behind it); None freezes it.
        weight_decay: on every parameter.
        gradient_norm: largest norm of the whole gradient; longer ones are shortened to it.
        drops: epochs after which all rates are divided by ten.
    """

    rate: float
    backbone_rate: float
    text_rate: float | None
    weight_decay: float
    gradient_norm: float
    drops: tuple[int, ...]

    def __post_init__(self) -> None:
        rates = [
            self.rate,
            self.backbone_rate,
            self.gradient_norm,
            *([] if self.text_rate is None else [self.text_rate]),
        ]
        if min(rates) <= 0 or self.weight_decay < 0:
            raise ValueError(f"rates and the gradient's norm must be positive, weight decay not negative: {self}")
        if list(self.drops) != sorted(set(self.drops)) or min(self.drops, default=1) < 1:
            raise ValueError(f"drops must be increasing numbers of epochs from 1 on, not {self.drops}")

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over three groups: the rest, backbone, text encoder. A frozen text encoder gets no gradients."""
        rates = {REST: self.rate, BACKBONE: self.backbone_rate, TEXT_ENCODER: self.text_rate}
        groups: dict[tuple[str, ...], list[nn.Parameter]] = {part: [] for part in rates}
        for name, parameter in model.named_parameters():
            groups[next(part for part in (BACKBONE, TEXT_ENCODER, REST) if name.startswith(part))].append(parameter)
        if self.text_rate is None:
            for parameter in groups[TEXT_ENCODER]:
                parameter.requires_grad_(False)
        return AdamW(
            [{"params": groups[part], "lr": rate} for part, rate in rates.items() if rate is not None],
            weight_decay=self.weight_decay,
        )

    def schedule(self, optimizer: AdamW) -> MultiStepLR:
        """To be stepped once an epoch."""
        return MultiStepLR(optimizer, list(self.drops), gamma=0.1)

    def clip(self, parameters: Iterable[nn.Parameter]) -> torch.Tensor:
        """Shorten the gradient in place; its norm before that."""
        return nn.utils.clip_grad_norm_(parameters, self.gradient_norm)
