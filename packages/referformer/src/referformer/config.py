"""Sizes of the network, and the configurations one can choose by name."""

from rvos_layers.grounded.config import GroundedConfig

ReferFormerConfig = GroundedConfig  # all that MUTR has beyond this is its own

CONFIGS = ReferFormerConfig.named()
DEFAULT_CONFIG = "video-swin-b"  # the member of the ensemble
