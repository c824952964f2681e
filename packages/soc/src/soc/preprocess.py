"""Frame size for SOC: short side 360, long side at most 640."""

from rvos_layers.inference.config import ResizeRule

RESIZE = ResizeRule(short=360, longest=640)
