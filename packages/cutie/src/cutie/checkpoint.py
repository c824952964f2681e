"""Published checkpoints of Cutie into our networks."""

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Drop, Rename, Table

from cutie.config import CONFIGS, NetworkConfig
from cutie.model import Cutie

ENCODERS: Table = [
    Drop("{encoder}.{*}.num_batches_tracked", reason="batch norm is frozen"),
    Rename("pixel_encoder.conv1.{*}", "encoder.stem.0.{*}"),
    Rename("pixel_encoder.bn1.{*}", "encoder.stem.1.{*}"),
    Rename("pixel_encoder.res2.{*}", "encoder.stages.0.{*}"),
    Rename("pixel_encoder.layer2.{*}", "encoder.stages.1.{*}"),
    Rename("pixel_encoder.layer3.{*}", "encoder.stages.2.{*}"),
    Rename("mask_encoder.conv1.{*}", "mask_encoder.encoder.stem.0.{*}"),
    Rename("mask_encoder.bn1.{*}", "mask_encoder.encoder.stem.1.{*}"),
    Rename("mask_encoder.layer1.{*}", "mask_encoder.encoder.stages.0.{*}"),
    Rename("mask_encoder.layer2.{*}", "mask_encoder.encoder.stages.1.{*}"),
    Rename("mask_encoder.layer3.{*}", "mask_encoder.encoder.stages.2.{*}"),
    Rename("pix_feat_proj.{*}", "pixels.{*}"),
    Rename("key_proj.pix_feat_proj.{*}", "keys.reduce.{*}"),
    Rename("key_proj.key_proj.{*}", "keys.key.{*}"),
    Rename("key_proj.d_proj.{*}", "keys.shrinkage.{*}"),
    Rename("key_proj.e_proj.{*}", "keys.selection.{*}"),
]

FUSION: Table = [
    rule
    for published, ours in (("mask_encoder.fuser", "mask_encoder.fusion"), ("pixel_fuser.fuser", "fusion"))
    for rule in (
        Rename(f"{published}.distributor.x_transform.{{*}}", f"{ours}.frame.{{*}}"),
        Rename(f"{published}.distributor.g_transform.{{*}}", f"{ours}.object.{{*}}"),
        *(
            Rename(f"{published}.block{i + 1}.{theirs}.{{*}}", f"{ours}.blocks.{i}.{own}.{{*}}")
            for i in range(2)
            for theirs, own in (("conv1", "first"), ("conv2", "second"), ("conv", "weigh"))
        ),
    )
]

MEMORIES: Table = [
    Rename("pixel_fuser.sensory_compress.{*}", "sensory_readout.{*}"),
    Rename("mask_encoder.sensory_update.transform.{*}", "mask_encoder.sensory.gates.{*}"),
    Rename("mask_decoder.sensory_update.transform.{*}", "decoder.sensory.gates.gates.{*}"),
    Rename("mask_decoder.sensory_update.g16_conv.{*}", "decoder.sensory.s16.{*}"),
    Rename("mask_decoder.sensory_update.g8_conv.{*}", "decoder.sensory.s8.{*}"),
    Rename("mask_decoder.sensory_update.g4_conv.{*}", "decoder.sensory.s4.{*}"),
    Rename("object_summarizer.input_proj.{*}", "summarizer.project.{*}"),
    Rename("object_summarizer.feature_pred.{*}", "summarizer.values.{*}"),
    Rename("object_summarizer.weights_pred.{*}", "summarizer.weights.{*}"),
    Drop("object_summarizer.pos_enc.inv_freq", reason="follows from the width"),
]

DECODER: Table = [
    Rename("mask_decoder.decoder_feat_proc.transforms.0.{*}", "decoder.skip_s8.{*}"),
    Rename("mask_decoder.decoder_feat_proc.transforms.1.{*}", "decoder.skip_s4.{*}"),
    *(
        Rename(f"mask_decoder.{published}.out_conv.{theirs}.{{*}}", f"decoder.{ours}.{own}.{{*}}")
        for published, ours in (("up_16_8", "up_s8"), ("up_8_4", "up_s4"))
        for theirs, own in (("conv1", "first"), ("conv2", "second"), ("downsample", "shortcut"))
    ),
    Rename("mask_decoder.pred.{*}", "decoder.logits.{*}"),
]

OBJECT_BLOCK = {
    "read_from_pixel.cross_attn": "read_pixels",
    "read_from_pixel.norm": "read_pixels_norm",
    "self_attn.self_attn": "read_queries",
    "self_attn.norm": "read_queries_norm",
    "ffn.linear1": "widen",
    "ffn.linear2": "narrow",
    "ffn.norm": "feed_forward_norm",
    "read_from_query.cross_attn": "pixels_read_queries",
    "pixel_ffn.conv.conv1": "blend.first",
    "pixel_ffn.conv.conv2": "blend.second",
    "pixel_ffn.conv.conv": "blend.weigh",
}


def _object_transformer(blocks: int) -> Table:
    start = "object_transformer"
    return [
        Rename(f"{start}.query_init.{{*}}", f"{start}.query_start.{{*}}"),
        Rename(f"{start}.query_emb.{{*}}", f"{start}.query_code.{{*}}"),
        Rename(f"{start}.summary_to_query_init.{{*}}", f"{start}.summary_start.{{*}}"),
        Rename(f"{start}.summary_to_query_emb.{{*}}", f"{start}.summary_code.{{*}}"),
        Rename(f"{start}.pixel_init_proj.{{*}}", f"{start}.pixel_start.{{*}}"),
        Rename(f"{start}.pixel_emb_proj.{{*}}", f"{start}.pixel_code.{{*}}"),
        Drop(f"{start}.spatial_pe.inv_freq", reason="follows from the width"),
        *(
            Rename(f"{start}.blocks.{{i}}.{published}.{{*}}", f"{start}.blocks.{{i}}.{ours}.{{*}}")
            for published, ours in OBJECT_BLOCK.items()
        ),
        Drop(f"{start}.mask_pred.{blocks}.1.{{*}}", reason="the guess after all blocks is for the losses of training"),
        Rename(f"{start}.mask_pred.{{i}}.1.{{*}}", f"{start}.guesses.{{i}}.{{*}}"),
    ]


def published_table(config: NetworkConfig) -> Table:
    """The rules for a network."""
    return [
        *ENCODERS,
        *FUSION,
        *MEMORIES,
        *DECODER,
        *_object_transformer(config.blocks),
        Drop("aux_computer.sensory_aux.projection.{*}", reason="only the losses of training need it"),
    ]


CHECKPOINTS: ModelCheckpoints[NetworkConfig, Cutie] = ModelCheckpoints(
    model="cutie",
    configs=CONFIGS,
    build=Cutie,
    table=published_table,
    others={
        "LSTT.layers.{i}.linear_QV.{*}": "deaot-propagate",
        "LSTT.layers.{i}.linear_Q.{*}": "aot-propagate",
    },
)
