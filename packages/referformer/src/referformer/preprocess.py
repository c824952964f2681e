"""How large frames are for the network."""

from rvos_layers.preprocess import ResizeRule

SHORT_SIDE = 360


def resize_rule(short_side: int = SHORT_SIDE) -> ResizeRule:
    """The published rule: only the short side counts, so that a wide video becomes longer than 640 pixels."""
    return ResizeRule(short=short_side, longest=None)
