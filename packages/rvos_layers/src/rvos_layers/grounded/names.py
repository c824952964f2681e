"""Published names of what ReferFormer and MUTR share, for their checkpoint tables."""

from program_kit.torch.checkpoint.table import Alias, Rename, Rule

from rvos_layers.blocks.deformable import deformable_rules
from rvos_layers.encoders.config import BackboneConfig, ResNetConfig
from rvos_layers.encoders.pyramid import pyramid_rules
from rvos_layers.encoders.text import text_encoder_rules
from rvos_layers.encoders.video_swin import video_swin_rules

LEVELS = 4  # of the mask branch's pyramid; the published names count them from 1 for stride 4


def grounded_rules(backbone: BackboneConfig) -> list[Rule]:
    """Rules for a model with the parts `video`, `text`, `queries`, `class_heads` and `masks`."""
    return [
        *_backbone_rules(backbone, "backbone.0.body", "video.backbone"),
        *pyramid_rules("input_proj", "video.projection"),
        *text_encoder_rules("text_encoder", "resizer.fc", "resizer.layer_norm", "text"),
        Rename("fusion_module.multihead_attn.{*}", "queries.words.{*}"),
        *deformable_rules("transformer", "queries.transformer"),
        Rename("query_embed.weight", "queries.query_embed.weight"),
        Rename("bbox_embed.{*}", "queries.box_heads.{*}"),
        Alias("transformer.decoder.bbox_embed.{*}", of="bbox_embed.{*}"),
        Rename("class_embed.{*}", "class_heads.{*}"),
        Rename("controller.{*}", "masks.controller.{*}"),
        *_pyramid_rules("pixel_decoder", "masks.decoder"),
    ]


def _backbone_rules(backbone: BackboneConfig, published: str, ours: str) -> list[Rule]:
    if isinstance(backbone, ResNetConfig):
        stages = enumerate(backbone.depths)
        return [
            Rename(f"{published}.conv1.{{*}}", f"{ours}.stem.0.{{*}}"),
            Rename(f"{published}.bn1.{{*}}", f"{ours}.stem.1.{{*}}"),
            *(Rename(f"{published}.layer{i + 1}.{{*}}", f"{ours}.stages.{i}.{{*}}") for i, _ in stages),
        ]
    return video_swin_rules(published, ours)


def _pyramid_rules(published: str, ours: str) -> list[Rule]:
    rules: list[Rule] = [Rename(f"{published}.mask_features.{{*}}", f"{ours}.output.{{*}}")]
    for level in range(LEVELS):
        block = f"{published}.cross_attn_{level + 1}"
        frames, words = f"{ours}.talks.{level}", f"{ours}.readings.{level}"
        for name, part in (("adapter", "adapters"), ("layer", "smoothings")):
            rules += [
                Rename(f"{published}.{name}_{level + 1}.norm.{{*}}", f"{ours}.{part}.{level}.1.{{*}}"),
                Rename(f"{published}.{name}_{level + 1}.weight", f"{ours}.{part}.{level}.0.weight"),
            ]
        rules += [
            Rename(f"{block}.self_attn.{{*}}", f"{frames}.attention.{{*}}"),
            Rename(f"{block}.norm1.{{*}}", f"{frames}.norm.{{*}}"),
            Rename(f"{block}.multihead_attn.{{*}}", f"{words}.attention.attention.{{*}}"),
            Rename(f"{block}.norm2.{{*}}", f"{words}.attention.norm.{{*}}"),
            Rename(f"{block}.norm3.{{*}}", f"{words}.feedforward.norm.{{*}}"),
            Rename(f"{block}.{{linear}}.{{*}}", f"{words}.feedforward.{{linear}}.{{*}}"),
        ]
    return rules
