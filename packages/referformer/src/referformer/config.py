"""Sizes of the network, and its configurations by name."""

from rvos_layers.grounded.config import GroundedConfig

ReferFormerConfig = GroundedConfig  # MUTR adds its own fields

CONFIGS = ReferFormerConfig.named()
