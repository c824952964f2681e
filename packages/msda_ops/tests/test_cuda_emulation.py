"""The CUDA kernels without a GPU: their source is compiled for the CPU, lanes taking turns, and compared with the twin.

This checks indices, shared memory, shuffles and arithmetic. What only a GPU shows (alignment, caches, speed) it cannot.
"""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import rounding
from msda_ops.library import DTYPE_CODES, Problem
from msda_ops.reference import accumulation_dtype, ms_deform_attn_reference

HERE = Path(__file__).parent
SOURCES = HERE.parent / "csrc"
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]

# batch, queries, heads, channels, points, shapes: groups of 1 to 32 lanes, more channels than a warp reads at once,
# points that do not fill a round, one image more than fits a warp.
CASES = {
    "one": (1, 1, 1, 1, 1, [(1, 1)]),
    "two_lanes": (2, 3, 2, 2, 3, [(3, 5), (2, 2)]),
    "model": (2, 5, 8, 32, 4, [(6, 9), (3, 5), (2, 3), (1, 2)]),
    "sixteen": (1, 4, 3, 16, 2, [(4, 7), (2, 3), (5, 1)]),
    "odd": (2, 3, 2, 30, 3, [(4, 5), (1, 3), (2, 2)]),
    "wider_than_a_warp": (1, 3, 2, 71, 3, [(4, 5)]),
    "wider_than_a_wide_warp": (1, 2, 2, 264, 5, [(3, 4), (2, 2)]),
}


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and g++ or clang++ to compile the emulation")
    library = tmp_path_factory.mktemp("emulation") / "libemulated.so"
    flags = ["-std=c++20", "-O1", "-D__CUDA_ARCH__=900", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-fPIC", "-shared"]
    command = [compiler, *flags, f"-I{HERE / 'emulation'}", f"-I{SOURCES}", str(HERE / "emulation" / "emulated.cpp")]
    subprocess.run([*command, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _inputs(case: str, dtype: torch.dtype) -> tuple[list[torch.Tensor], list[tuple[int, int]], Problem]:
    batch, queries, heads, channels, points, shapes = CASES[case]
    generator = torch.Generator().manual_seed(len(case))
    real = accumulation_dtype(dtype)
    tokens = sum(height * width for height, width in shapes)
    points_shape = (batch, queries, heads, len(shapes), points)
    value = torch.randn(batch, tokens, heads, channels, generator=generator).to(dtype)
    locations = torch.rand(*points_shape, 2, generator=generator, dtype=real) * 1.6 - 0.3
    locations[0, 0, 0, 0, 0] = torch.tensor([torch.nan, 0.5])
    weights = torch.randn(points_shape, generator=generator, dtype=real)
    grad_output = torch.randn(batch, queries, heads * channels, generator=generator).to(dtype)
    problem = Problem(
        batch=batch,
        queries=queries,
        heads=heads,
        channels=channels,
        points=points,
        spatial_shapes=[side for shape in shapes for side in shape],
    )
    return [value, locations, weights, grad_output], shapes, problem


def _wide_choices(channels: int, dtype: torch.dtype) -> list[int]:
    return [0, 1] if channels * dtype.itemsize % 16 == 0 else [0]


def _pointers(*tensors: torch.Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_against_twin(emulated: ctypes.CDLL, case: str, dtype: torch.dtype, gradients_of):
    (value, locations, weights, grad_output), shapes, problem = _inputs(case, dtype)
    real = accumulation_dtype(dtype)
    expected = gradients_of(ms_deform_attn_reference, value.to(real), shapes, locations, weights, grad_output.to(real))
    code = DTYPE_CODES[str(dtype).removeprefix("torch.")]
    for wide in _wide_choices(problem.channels, dtype):
        # NaN stands for what a kernel forgot to write.
        output = torch.full_like(grad_output, torch.nan)
        gradients = [torch.full_like(tensor, torch.nan, dtype=real) for tensor in (value, locations, weights)]
        struct = ctypes.byref(problem.struct)
        assert emulated.emulated_forward(struct, code, *_pointers(value, locations, weights, output), wide) == 0
        tensors = (grad_output, value, locations, weights, *gradients)
        assert emulated.emulated_backward(struct, code, *_pointers(*tensors), wide) == 0

        for (name, reference), actual in zip(expected.items(), (output, *gradients), strict=True):
            # Sums are rounded in their own dtype; the output, in a half dtype, once more when it is stored.
            terms = np.abs(np.append(reference, 1))
            tolerance = rounding(terms, epsilon=torch.finfo(real).eps) + terms.max() * torch.finfo(actual.dtype).eps
            torch.testing.assert_close(actual.to(real), reference, rtol=0, atol=tolerance, msg=f"{name}, wide={wide}")
