"""Frame size for ReferFormer: short side 360, no limit for the long side."""

from rvos_layers.inference.config import ResizeRule

RESIZE = ResizeRule(short=360, longest=None)
