"""From published checkpoints of UNINEXT to our network.

A published file (`model_final.pth` of `video_joint_vit_huge` or `video_joint_convnext_large`) holds its tensors under
the key `model`, beside the optimizer's.
"""

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Alias, Drop, Rename, Rule

from uninext.config import CONFIGS, UninextConfig, ViTConfig
from uninext.model import build_uninext


def published_table(config: UninextConfig) -> list[Rule]:
    """Where every entry of a published file goes."""
    last, proposal = config.decoder_layers - 1, config.decoder_layers
    transformer = "detr.detr.transformer"
    backbone = _vit_rules() if isinstance(config.backbone, ViTConfig) else _convnext_rules()
    return [
        Drop(
            "text_encoder.body.model.embeddings.position_ids", reason="0, 1, 2, ...; saved by transformers before 4.31"
        ),
        Rename("text_encoder.body.model.{*}", "text_encoder.bert.{*}"),
        Drop("detr.detr.ref_backbone.{*}", reason="backbone of the template branch (object tracking); never built"),
        *backbone,
        Rename("detr.detr.input_proj.{i}.{j}.{*}", "pyramid.projections.{i}.{j}.{*}"),
        Rename(f"{transformer}.level_embed", "pyramid.level_codes"),
        *(
            Rename(f"{transformer}.encoder.vl_layers.0.b_attn.{published}", f"fusion.{ours}")
            for published, ours in FUSION_NAMES.items()
        ),
        *(
            Rename(f"{transformer}.encoder.layers.{{i}}.{published}", f"encoder.{{i}}.{ours}")
            for published, ours in ENCODER_LAYER_NAMES.items()
        ),
        *(
            Rename(f"{transformer}.decoder.layers.{{i}}.{published}", f"decoder.layers.{{i}}.{ours}")
            for published, ours in DECODER_LAYER_NAMES.items()
        ),
        Rename(f"{transformer}.tgt_embed.weight", "decoder.content.weight"),
        *_mlp_rules(f"{transformer}.decoder.ref_point_head", "decoder.position_head"),
        Rename(f"{transformer}.enc_output.{{*}}", "proposals.project.{*}"),
        Rename(f"{transformer}.enc_output_norm.{{*}}", "proposals.norm.{*}"),
        *_head_rules(f"{transformer}.decoder", last, proposal),
        Alias("detr.detr.class_embed.{*}", of=f"{transformer}.decoder.class_embed.{{*}}"),
        Alias("detr.detr.bbox_embed.{*}", of=f"{transformer}.decoder.bbox_embed.{{*}}"),
        Rename(f"detr.detr.iou_head.{last}.{{*}}", "iou_head.{*}"),
        Drop("detr.detr.iou_head.{i}.{*}", reason="of an earlier decoder layer; only the last is used"),
        *_mlp_rules("detr.controller", "dynamic_mask.controller"),
        *(
            Rename(f"detr.mask_head.{published}.{{*}}", f"mask_features.{ours}.{{*}}")
            for published, ours in MASK_NAMES.items()
        ),
        Drop(f"{transformer}.resizer.{{*}}", reason="its result is multiplied by zero"),
        Drop("detr.resizer.{*}", reason="text for other tasks"),
        Drop("detr.reid_embed_head.{*}", reason="embeddings for tracking"),
        Drop("detr.adjust_layer.{*}", reason="template branch"),
        Drop("detr.sot_fuser.{*}", reason="template branch"),
        Drop("criterion._iter", reason="training step"),
    ]


FUSION_NAMES = {
    "gamma_v": "image_gate",
    "gamma_l": "text_gate",
    "layer_norm_v.{*}": "image_norm.{*}",
    "layer_norm_l.{*}": "text_norm.{*}",
    "attn.v_proj.{*}": "image_query.{*}",
    "attn.l_proj.{*}": "text_key.{*}",
    "attn.values_v_proj.{*}": "image_value.{*}",
    "attn.values_l_proj.{*}": "text_value.{*}",
    "attn.out_v_proj.{*}": "image_output.{*}",
    "attn.out_l_proj.{*}": "text_output.{*}",
}

ENCODER_LAYER_NAMES = {
    "self_attn.{*}": "attention.{*}",
    "norm1.{*}": "norm.{*}",
    "linear1.{*}": "feedforward.expand.{*}",
    "linear2.{*}": "feedforward.contract.{*}",
    "norm2.{*}": "feedforward.norm.{*}",
}

DECODER_LAYER_NAMES = {
    "self_attn.{*}": "among_queries.{*}",
    "norm2.{*}": "among_norm.{*}",  # norm2 follows self-attention, norm1 cross-attention
    "cross_attn.{*}": "to_image.{*}",
    "norm1.{*}": "image_norm.{*}",
    "linear1.{*}": "feedforward.expand.{*}",
    "linear2.{*}": "feedforward.contract.{*}",
    "norm3.{*}": "feedforward.norm.{*}",
}

MASK_NAMES = {"lay3": "coarse", "lay4": "middle", "jia_dcn": "fine", "lay1": "narrow", "lay2": "output"}


def _head_rules(prefix: str, last: int, proposal: int) -> list[Rule]:
    """Class and box heads: one for each decoder layer, and one more for the proposals."""
    return [
        Rename(f"{prefix}.class_embed.{proposal}.body.{{*}}", "proposals.score.{*}"),
        Rename(f"{prefix}.class_embed.{last}.log_scale", "agreement.log_scale"),
        Rename(f"{prefix}.class_embed.{last}.bias_lang", "agreement.text_bias"),
        Rename(f"{prefix}.class_embed.{last}.bias0", "agreement.bias"),
        Rename(f"{prefix}.class_embed.{last}.dot_product_projection_text.{{*}}", "agreement.project_text.{*}"),
        Drop(f"{prefix}.class_embed.{{i}}.{{*}}", reason="of an earlier decoder layer; only the last is used"),
        *_mlp_rules(f"{prefix}.bbox_embed.{proposal}", "proposals.box"),
        *_mlp_rules(f"{prefix}.bbox_embed.{{i}}", "decoder.box_heads.{i}"),
    ]


def _mlp_rules(published: str, ours: str) -> list[Rule]:
    """Our linear layers have the even indices, with ReLU between them."""
    return [Rename(f"{published}.layers.{i}.{{*}}", f"{ours}.{2 * i}.{{*}}") for i in range(3)]


def _vit_rules() -> list[Rule]:
    prefix = "detr.detr.backbone.0.backbone"
    return [Rename(f"{prefix}.fpn1.0.{{*}}", "backbone.finer.{*}"), Rename(f"{prefix}.{{*}}", "backbone.vit.{*}")]


def _convnext_rules() -> list[Rule]:
    """Norms and layer scales are published as one-row tables `...weight.weight`, `...bias.weight`, `gamma.weight`."""
    prefix = "detr.detr.backbone.0.backbone"
    stem, down = f"{prefix}.downsample_layers.0", f"{prefix}.downsample_layers.{{i}}"
    block, ours = f"{prefix}.stages.{{i}}.{{j}}", "backbone.stages.{i}.blocks.{j}"
    norms = {
        f"{stem}.1": "backbone.stem.1",
        f"{down}.0": "backbone.stages.{i}.downsample.0",
        f"{block}.norm": f"{ours}.norm",
    }
    norms |= {f"{prefix}.norm{i + 1}": f"backbone.norms.{i}" for i in range(3)}
    return [
        Rename(f"{stem}.0.{{*}}", "backbone.stem.0.{*}"),
        *(
            Rename(f"{published}.{kind}.weight", f"{target}.{kind}", reshape=True)
            for published, target in norms.items()
            for kind in ("weight", "bias")
        ),
        Rename(f"{down}.1.{{*}}", "backbone.stages.{i}.downsample.1.{*}"),
        Rename(f"{block}.gamma.weight", f"{ours}.gamma", reshape=True),
        Rename(f"{block}.dwconv.{{*}}", f"{ours}.conv_dw.{{*}}"),
        Rename(f"{block}.pwconv1.{{*}}", f"{ours}.mlp.fc1.{{*}}"),
        Rename(f"{block}.pwconv2.{{*}}", f"{ours}.mlp.fc2.{{*}}"),
    ]


CHECKPOINTS = ModelCheckpoints(
    model="uninext",
    configs=CONFIGS,
    build=build_uninext,
    table=published_table,
)
