"""Published checkpoints (`torch.load(path)["model"]`) into our network."""

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Rule
from rvos_layers.grounded.names import grounded_rules

from referformer.config import CONFIGS, ReferFormerConfig
from referformer.model import ReferFormer


def published_table(config: ReferFormerConfig) -> list[Rule]:
    """Rules for every published entry; all are shared with MUTR."""
    return grounded_rules(config.backbone)


CHECKPOINTS = ModelCheckpoints(
    model="referformer",
    configs=CONFIGS,
    build=ReferFormer,
    table=published_table,
    others={"MTA.{*}": "mutr-infer", "vita.{*}": "soc-infer", "voc.{*}": "soc-infer"},
)
