"""The device of the option `--device`."""

import torch

from program_kit.errors import DeviceError


def choose_device(wanted: str) -> torch.device:
    """The device of `auto`, `cpu`, `cuda` or `cuda:<number>`; `auto` is the first GPU where there is one.

    Raises:
        DeviceError: this machine does not have it; says what was found.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {wanted}: expected auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(f"device {wanted}: {_found(count)}")
    return device


def _found(count: int) -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; use device cpu"
    if count == 0:
        return f"torch {torch.__version__} finds no GPU; use device cpu, or see with nvidia-smi what the driver finds"
    return f"torch finds {', '.join(f'cuda:{i}' for i in range(count))}; use one of these, or device cpu"
