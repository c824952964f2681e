"""The build backend: scikit-build-core, told for which GPUs to compile.

Each hook runs in a process of its own, before anything is fetched or compiled. `pyproject.toml` reads the variable.
"""

import os

from cuda_archs import cuda_archs
from scikit_build_core import build as _build
from scikit_build_core.build import *  # noqa: F403 - the hooks

__all__ = _build.__all__

os.environ["MSDA_OPS_CUDA_ARCHS"] = cuda_archs(os.environ)
