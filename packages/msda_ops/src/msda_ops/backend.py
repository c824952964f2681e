"""Which code computes `ms_deform_attn` for a device and a dtype, and why."""

import functools
import warnings
from dataclasses import dataclass
from typing import Literal

import torch

from msda_ops import library
from msda_ops.errors import InputError, LibraryError

KERNEL_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Backend:
    """The code that computes `ms_deform_attn`.

    Attributes:
        name: `cpu` and `cuda` are kernels of the compiled library, `twin` is `ms_deform_attn_reference`.
        reason: one sentence; for the twin also how to get a kernel, where that is possible.
    """

    name: Literal["cpu", "cuda", "twin"]
    reason: str


def backend(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Backend:
    """The path that `ms_deform_attn` takes for a value tensor of this device and dtype.

    Asking about a CUDA device initialises CUDA on it; importing this package never does.
    """
    device = torch.device(device)
    if not dtype.is_floating_point:
        raise InputError(f"value must be a floating point tensor, got {dtype}")
    index = device.index
    if device.type == "cuda" and index is None and torch.cuda.is_available():
        index = torch.cuda.current_device()
    return _choose(device.type, index, dtype)


@functools.cache
def _choose(device_type: str, index: int | None, dtype: torch.dtype) -> Backend:
    if device_type not in ("cpu", "cuda"):
        return Backend("twin", f"there is no kernel for device type {device_type!r}")
    if dtype not in KERNEL_DTYPES:
        return Backend("twin", f"there is no kernel for {dtype}")
    try:
        kernels = library.load()
        if device_type == "cpu":
            half = dtype in (torch.float16, torch.bfloat16)
            how = f", {str(dtype).removeprefix('torch.')} computed in float32" if half else ""
            return Backend("cpu", f"C++ kernels with {kernels.cpu_instructions} instructions{how}")
        return _choose_cuda(kernels, index)
    except LibraryError as error:
        return Backend("twin", str(error))


def _choose_cuda(kernels: library.Library, index: int | None) -> Backend:
    if torch.version.hip is not None:
        return Backend("twin", "this torch drives AMD GPUs, the kernels are for NVIDIA GPUs")
    if not kernels.has_cuda:
        return Backend("twin", f"the library was built without CUDA; `unset MSDA_OPS_BUILD` and {library.REINSTALL}")
    if index is None:
        return Backend("twin", "torch sees no CUDA device")
    kernels.check_cuda(index)
    return Backend("cuda", f"CUDA {kernels.build_info['cuda']} kernels on {torch.cuda.get_device_name(index)}")


def path_name(device_type: str, index: int | None, dtype: torch.dtype) -> str:
    """`Backend.name` for a tensor; warns once if a CPU or CUDA tensor has no kernel."""
    chosen = _choose(device_type, index, dtype)
    if chosen.name == "twin" and device_type in ("cpu", "cuda"):
        _warn(device_type, chosen.reason)
    return chosen.name


# As torch.compiler.assume_constant_result does: torch.compile calls it while it traces and keeps the result. The
# decorator itself would import the whole compiler, which takes longer than importing torch.
path_name._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


@functools.cache
def _warn(device_type: str, reason: str) -> None:
    message = f"ms_deform_attn runs its slow torch twin on {device_type}: {reason}"
    warnings.warn(message, RuntimeWarning, stacklevel=4)
