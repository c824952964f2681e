"""Published checkpoints (`torch.load(path)["model_state_dict"]`) into our network.

The challenge code calls the object cluster `vita`, the authors' repository `voc`; all other names are equal.
"""

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Alias, Rename, Rule
from rvos_layers.blocks.deformable import deformable_rules
from rvos_layers.blocks.frame_query import frame_query_rules
from rvos_layers.encoders.pyramid import pyramid_rules
from rvos_layers.encoders.text import text_encoder_rules
from rvos_layers.encoders.video_swin import video_swin_rules

from soc.config import CONFIGS, SOCConfig
from soc.model import SOC

MASK_FEATURE_STEPS = 5


def published_table(config: SOCConfig) -> list[Rule]:
    """Rules for every published entry; the same for all configurations."""
    return [
        *video_swin_rules("backbone.0.body", "video.backbone"),
        *pyramid_rules("input_proj", "video.projection"),
        *text_encoder_rules("text_encoder", "txt_proj.fc", "txt_proj.layer_norm", "text"),
        Rename("vlf.multihead_attn.{*}", "queries.words.{*}"),
        Rename("lvf.multihead_attn.{*}", "alignment.attention.{*}"),
        *deformable_rules("transformer", "queries.transformer"),
        Rename("query_embed.weight", "queries.query_embed.weight"),
        *frame_query_rules("vita", "cluster"),
        *frame_query_rules("voc", "cluster"),
        Rename("class_embed.{*}", "class_heads.{*}"),
        Rename("bbox_embed.{*}", "queries.box_heads.{*}"),
        Alias("transformer.decoder.bbox_embed.{*}", of="bbox_embed.{*}"),
        Rename("controller.{*}", "controller.{*}"),
        *(
            rule
            for step in range(MASK_FEATURE_STEPS)
            for rule in (
                Rename(f"spatial_decoder.lay{step + 1}.{{*}}", f"mask_features.steps.{step}.0.{{*}}"),
                Rename(f"spatial_decoder.gn{step + 1}.{{*}}", f"mask_features.steps.{step}.1.{{*}}"),
            )
        ),
        Rename("spatial_decoder.adapter1.{*}", "mask_features.adapters.0.{*}"),
        Rename("spatial_decoder.adapter2.{*}", "mask_features.adapters.1.{*}"),
        Rename("spatial_decoder.adapter3.{*}", "mask_features.fine_adapter.{*}"),
        Rename("spatial_decoder.out_lay.{*}", "mask_features.output.{*}"),
    ]


CHECKPOINTS = ModelCheckpoints(
    model="soc",
    configs=CONFIGS,
    build=SOC,
    table=published_table,
    others={"pixel_decoder.{*}": "referformer-infer or mutr-infer"},
)
