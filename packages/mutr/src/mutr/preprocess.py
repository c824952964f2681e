"""Frame sizes for MUTR; the long side has no limit.

The published system ran MUTR twice: its soft masks and scores with short side 360, its binary masks with 432.
"""

from rvos_layers.inference.config import ResizeRule

RESIZE = ResizeRule(short=360, longest=None)
RESIZE_FOR_MASKS = ResizeRule(short=432, longest=None)
