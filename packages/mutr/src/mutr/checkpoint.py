"""Published checkpoints (`torch.load(path)["model"]`) into our network."""

from rvos_layers.checkpoint import Rename, Rule, attention_layer_rules
from rvos_layers.grounded_names import grounded_rules

from mutr.config import MUTRConfig


def published_table(config: MUTRConfig) -> list[Rule]:
    """Where every published entry goes: ReferFormer's names and those of the two temporal modules."""
    return [
        *grounded_rules(config.backbone),
        Rename("MTA.layers.0.multihead_attn.{*}", "aggregation.attention.attention.{*}"),
        Rename("MTA.layers.0.norm1.{*}", "aggregation.attention.norm.{*}"),
        Rename("MTA.layers.0.norm2.{*}", "aggregation.feedforward.norm.{*}"),
        Rename("MTA.layers.0.{linear}.{*}", "aggregation.feedforward.{linear}.{*}"),
        Rename("mti.query_feat.weight", "interaction.start.weight"),
        *frame_query_rules("mti", "interaction.transformer"),
    ]


def frame_query_rules(published: str, ours: str) -> list[Rule]:
    """Rules for a frame query transformer."""
    encoder, decoder = f"{ours}.exchanges.{{i}}", f"{ours}.decoder.{{i}}"
    layers = f"{published}.transformer"
    return [
        *attention_layer_rules(f"{published}.enc_self_attn.{{i}}", "self_attn", f"{encoder}.attention"),
        Rename(f"{published}.enc_ffn.{{i}}.{{*}}", f"{encoder}.feedforward.{{*}}"),
        *attention_layer_rules(
            f"{layers}_cross_attention_layers.{{i}}", "multihead_attn", f"{decoder}.cross_attention"
        ),
        *attention_layer_rules(f"{layers}_self_attention_layers.{{i}}", "self_attn", f"{decoder}.self_attention"),
        Rename(f"{layers}_ffn_layers.{{i}}.{{*}}", f"{decoder}.feedforward.{{*}}"),
        Rename(f"{published}.fq_pos.weight", f"{ours}.frame_position.weight"),
        Rename(f"{published}.query_embed.weight", f"{ours}.query_position.weight"),
        Rename(f"{published}.decoder_norm.{{*}}", f"{ours}.norm.{{*}}"),
    ]
