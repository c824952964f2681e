"""`python -m msda_ops`: what is installed, which path each device and dtype takes, whether the kernels are correct."""

import ctypes
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from msda_ops import library
from msda_ops.backend import KERNEL_DTYPES, backend
from msda_ops.errors import LibraryError
from msda_ops.ops import ms_deform_attn
from msda_ops.reference import accumulation_dtype, ms_deform_attn_reference

# Largest difference from the twin that rounding explains, relative to the largest number.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def main() -> int:
    """Print the diagnosis. Returns 1 if a kernel fails or disagrees with the twin, else 0."""
    print(f"msda-ops {_own_version()}, torch {torch.__version__}, Python {platform.python_version()}, ", end="")
    print(f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads")
    _describe_library()
    print(f"CUDA driver: {_cuda_driver()}")
    print("Paths:")
    healthy = True
    for device in _devices():
        for dtype in KERNEL_DTYPES:
            healthy &= _report_path(device, dtype)
    print("Self-check: " + ("ok" if healthy else "FAILED; please report this output"))
    return 0 if healthy else 1


def _own_version() -> str:
    """Of the distribution, which has another name on an index than in the workspace."""
    try:
        return version("rvos-msda-ops")
    except PackageNotFoundError:
        return version("msda-ops")


def _describe_library() -> None:
    try:
        kernels = library.load()
    except LibraryError as error:
        print(f"Library: NONE, the slow torch twin runs\n  {error}")
        return
    print(f"Library: {kernels.path}")
    for key, text in kernels.build_info.items():
        print(f"  {key}: {text}")
    if not kernels.has_cuda:
        print(f"  for CUDA kernels: unset MSDA_OPS_BUILD and {library.REINSTALL}")


def _cuda_driver() -> str:
    names = {"win32": "nvcuda.dll"}
    try:
        driver = ctypes.CDLL(names.get(sys.platform, "libcuda.so.1"))
        number = ctypes.c_int()
        status = driver.cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return "not visible"
    return f"error {status}" if status else f"supports CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def _devices() -> list[str]:
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _report_path(device: str, dtype: torch.dtype) -> bool:
    chosen = backend(device, dtype)
    name = str(dtype).removeprefix("torch.")
    if chosen.name == "twin":
        print(f"  {device} {name}: torch twin, {chosen.reason}")
        return True
    try:
        difference = _difference_to_twin(device, dtype)
    except (LibraryError, RuntimeError) as error:
        print(f"  {device} {name}: FAILED, {error}")
        return False
    right = difference <= TOLERANCE[dtype]
    verdict = f"off the twin by {difference:.1g}" + ("" if right else f", more than {TOLERANCE[dtype]:.0e}: WRONG")
    print(f"  {device} {name}: {chosen.reason}; {verdict}")
    return right


def _difference_to_twin(device: str, dtype: torch.dtype) -> float:
    """Largest relative difference of output and gradients on a small problem, with the twin on the CPU."""
    generator = torch.Generator().manual_seed(0)
    real = accumulation_dtype(dtype)
    shapes = [(6, 9), (3, 4)]
    batch, heads, channels, queries, points = 2, 2, 16, 7, 4
    value = torch.randn(batch, 6 * 9 + 3 * 4, heads, channels, generator=generator).to(dtype)
    locations = torch.rand(batch, queries, heads, 2, points, 2, generator=generator, dtype=real) * 1.2 - 0.1
    weights = torch.rand(batch, queries, heads, 2, points, generator=generator, dtype=real)
    grad_output = torch.randn(batch, queries, heads * channels, generator=generator).to(dtype)

    def run(attention, device: str, dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [value.to(device, dtype), locations.to(device), weights.to(device)]
        for tensor in inputs:
            tensor.requires_grad_()
        output = attention(inputs[0], shapes, inputs[1], inputs[2])
        return [output.detach(), *torch.autograd.grad(output, inputs, grad_output.to(device, dtype))]

    ours = run(ms_deform_attn, device, dtype)
    expected = run(ms_deform_attn_reference, "cpu", real)
    return max(float((a.cpu().to(real) - e).abs().max() / e.abs().max()) for a, e in zip(ours, expected, strict=True))


if __name__ == "__main__":
    sys.exit(main())
