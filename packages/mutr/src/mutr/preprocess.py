"""How large frames are for the network.

The published system ran MUTR twice: its binary masks at short side 432, its soft masks and scores at 360.
"""

from rvos_layers.preprocess import ResizeRule

SHORT_SIDE = 360
SHORT_SIDE_OF_MASKS = 432


def resize_rule(short_side: int = SHORT_SIDE) -> ResizeRule:
    """The published rule: only the short side counts, so that a wide video becomes longer than 640 pixels."""
    return ResizeRule(short=short_side, longest=None)
