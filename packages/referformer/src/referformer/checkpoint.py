"""Published checkpoints (`torch.load(path)["model"]`) into our network."""

from rvos_layers.checkpoint import Rule
from rvos_layers.grounded.names import grounded_rules

from referformer.config import ReferFormerConfig


def published_table(config: ReferFormerConfig) -> list[Rule]:
    """Where every published entry goes; ReferFormer has nothing that MUTR lacks."""
    return grounded_rules(config.backbone)
