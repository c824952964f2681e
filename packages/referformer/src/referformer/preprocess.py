"""How large frames are for ReferFormer: short side 360, however long the other side becomes."""

from rvos_layers.inference.config import ResizeRule

RESIZE = ResizeRule(short=360, longest=None)
