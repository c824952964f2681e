"""Multi-scale deformable attention: CPU and CUDA kernels behind one C header, and their readable torch twin."""

from msda_ops.module import MSDeformAttn
from msda_ops.ops import ms_deform_attn

__all__ = ["MSDeformAttn", "ms_deform_attn"]
