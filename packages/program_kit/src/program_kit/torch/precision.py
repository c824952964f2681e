"""The precision that a network computes in, by name."""

from typing import get_args

import torch

from program_kit.errors import ProgramKitError
from program_kit.options import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context manager under which a network computes in `precision`; may be entered again and again.

    The half precisions are torch's autocast: weights stay as they are. `float32` switches autocast off.

    Raises:
        ProgramKitError: no such precision.
    """
    if precision not in get_args(Precision):
        raise ProgramKitError(f"precision {precision!r}: expected one of {', '.join(get_args(Precision))}")
    if precision == "float32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, getattr(torch, precision))
