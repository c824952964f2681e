"""Multi-scale deformable attention: CPU and CUDA kernels behind one C header, and their readable torch twin."""

from msda_ops.backend import Backend, backend
from msda_ops.errors import InputError, LibraryError, MSDAError
from msda_ops.module import MSDeformAttn
from msda_ops.ops import ms_deform_attn

__all__ = ["Backend", "InputError", "LibraryError", "MSDAError", "MSDeformAttn", "backend", "ms_deform_attn"]
