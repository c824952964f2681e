"""Published checkpoints (`torch.load(path)["model"]`) into our network."""

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Rename, Rule
from rvos_layers.blocks.frame_query import frame_query_rules
from rvos_layers.grounded.names import grounded_rules

from mutr.config import CONFIGS, MUTRConfig
from mutr.model import MUTR


def published_table(config: MUTRConfig) -> list[Rule]:
    """Rules for every published entry: those of ReferFormer, and those of the two temporal modules."""
    return [
        *grounded_rules(config.backbone),
        Rename("MTA.layers.0.multihead_attn.{*}", "aggregation.attention.attention.{*}"),
        Rename("MTA.layers.0.norm1.{*}", "aggregation.attention.norm.{*}"),
        Rename("MTA.layers.0.norm2.{*}", "aggregation.feedforward.norm.{*}"),
        Rename("MTA.layers.0.{linear}.{*}", "aggregation.feedforward.{linear}.{*}"),
        Rename("mti.query_feat.weight", "interaction.start.weight"),
        *frame_query_rules("mti", "interaction.transformer"),
    ]


CHECKPOINTS = ModelCheckpoints(
    model="mutr",
    configs=CONFIGS,
    build=MUTR,
    table=published_table,
    others={"vita.{*}": "soc-infer", "voc.{*}": "soc-infer"},
)
