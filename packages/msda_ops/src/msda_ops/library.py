"""Finds the compiled library and offers its C functions (`csrc/msda.h`) as Python calls, without torch."""

import ctypes
import functools
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msda_ops.errors import LibraryError

ABI = 1
FILE_NAME = {"win32": "msda.dll", "darwin": "libmsda.dylib"}.get(sys.platform, "libmsda.so")
DTYPE_CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}

REINSTALL = "`uv sync --reinstall-package msda-ops` (or `pip install --force-reinstall --no-deps msda-ops`)"


class _Problem(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "queries", "heads", "channels", "levels", "points")),
        ("spatial_shapes", ctypes.POINTER(ctypes.c_int64)),
    )


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The sizes of one call; `spatial_shapes` holds H0, W0, H1, W1, ..."""

    batch: int
    queries: int
    heads: int
    channels: int
    points: int
    spatial_shapes: Sequence[int]

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """[B, Q, M * D]."""
        return self.batch, self.queries, self.heads * self.channels

    @functools.cached_property
    def struct(self) -> _Problem:
        """The C structure; it keeps its own copy of `spatial_shapes`."""
        shapes = (ctypes.c_int64 * len(self.spatial_shapes))(*self.spatial_shapes)
        levels = len(self.spatial_shapes) // 2
        return _Problem(self.batch, self.queries, self.heads, self.channels, levels, self.points, shapes)


class Library:
    """The loaded library.

    Pointers are plain integers; `csrc/msda.h` says what they must point to. A failing call raises `LibraryError` with
    the library's own message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._functions = ctypes.CDLL(str(path))
            abi = self._functions.msda_abi()
        except (OSError, AttributeError) as error:
            raise LibraryError(f"the compiled library {path} cannot be loaded: {error}; {REINSTALL}") from error
        if abi != ABI:
            raise LibraryError(
                f"the compiled library {path} has interface {abi}, this package needs {ABI}; {REINSTALL}"
            )
        pointer, integer, problem = ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Problem)
        for name in ("msda_build_info", "msda_cpu_instructions", "msda_error"):
            getattr(self._functions, name).restype = ctypes.c_char_p
        for name, pointers in (("forward", 4), ("backward", 7)):
            start = (problem, integer, *(pointer,) * pointers)
            getattr(self._functions, f"msda_cpu_{name}").argtypes = (*start, integer)
            getattr(self._functions, f"msda_cuda_{name}").argtypes = (*start, integer, pointer)

    @functools.cached_property
    def build_info(self) -> dict[str, str]:
        """How it was built: `compiler`, `cuda` (version or "none"), and with CUDA `archs` and `ptx`."""
        text: bytes = self._functions.msda_build_info()
        return dict(entry.split("=", 1) for entry in text.decode().split(";"))

    @property
    def has_cuda(self) -> bool:
        """Whether CUDA kernels were compiled in."""
        return self.build_info["cuda"] != "none"

    @property
    def cpu_instructions(self) -> str:
        """The instruction set of the CPU kernels on this machine."""
        return self._functions.msda_cpu_instructions().decode()

    def cpu_forward(self, problem: Problem, dtype: str, *pointers: int, threads: int) -> None:
        """value, locations, weights, output."""
        self._check(self._functions.msda_cpu_forward(problem.struct, DTYPE_CODES[dtype], *pointers, threads))

    def cpu_backward(self, problem: Problem, dtype: str, *pointers: int, threads: int) -> None:
        """grad_output, value, locations, weights, grad_value, grad_locations, grad_weights."""
        self._check(self._functions.msda_cpu_backward(problem.struct, DTYPE_CODES[dtype], *pointers, threads))

    def cuda_forward(self, problem: Problem, dtype: str, *pointers: int, device: int, stream: int) -> None:
        """value, locations, weights, output."""
        code = DTYPE_CODES[dtype]
        self._check(self._functions.msda_cuda_forward(problem.struct, code, *pointers, device, stream))

    def cuda_backward(self, problem: Problem, dtype: str, *pointers: int, device: int, stream: int) -> None:
        """grad_output, value, locations, weights, grad_value, grad_locations, grad_weights."""
        code = DTYPE_CODES[dtype]
        self._check(self._functions.msda_cuda_backward(problem.struct, code, *pointers, device, stream))

    def check_cuda(self, device: int) -> None:
        """Raise `LibraryError` if the CUDA kernels cannot run on a device. Initialises CUDA there."""
        self._check(self._functions.msda_cuda_check(device))

    def _check(self, status: int) -> None:
        if status:
            raise LibraryError(self._functions.msda_error().decode())


@functools.cache
def _load() -> Library | LibraryError:
    package = sys.modules["msda_ops"]
    for folder in map(Path, package.__path__):  # an editable install has two: the sources and what was compiled
        if (folder / FILE_NAME).is_file():
            try:
                return Library(folder / FILE_NAME)
            except LibraryError as error:
                return error
    return LibraryError(_why_absent())


def load() -> Library:
    """The library, loaded on the first call. Raises `LibraryError`, with what to do, if there is none."""
    found = _load()
    if isinstance(found, LibraryError):
        raise found
    return found


def _why_absent() -> str:
    compilers = ("c++", "g++", "clang++", "cl")
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        remedy = f"install a C++ compiler (Debian and Ubuntu: `apt-get install g++`), then {REINSTALL}"
    else:
        remedy = f"{compiler} is available now: {REINSTALL}; with MSDA_OPS_BUILD=cpu, a failing build shows its log"
    cause = "msda-ops was installed without its compiled library (no working C++ compiler, or MSDA_OPS_BUILD=none)"
    return f"{cause}: {remedy}"
