"""Published checkpoints of AOT and DeAOT into our networks."""

from collections.abc import Mapping

from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Drop, Rename, Table

from aot_deaot.config import CONFIGS, MOBILENET_V2, RESNET50, Family, NetworkConfig
from aot_deaot.network import PropagationNetwork

SHARED: Table = [
    Rename("encoder_projector.{*}", "projector.{*}"),
    Rename("patch_wise_id_bank.{*}", "identity_bank.{*}"),
    Rename("decoder.conv_in.conv.{*}", "decoder.join.{*}"),
    Rename("decoder.conv_in.gn.{*}", "decoder.join_norm.{*}"),
    Rename("decoder.conv_{i}x.conv.{*}", "decoder.blends.s{i}.{*}"),
    Rename("decoder.conv_{i}x.gn.{*}", "decoder.norms.s{i}.{*}"),
    Rename("decoder.adapter_{i}x.{*}", "decoder.skips.s{i}.{*}"),
    Rename("decoder.conv_out.{*}", "decoder.logits.{*}"),
    Rename("LSTT.layers.{i}.norm{n}.{*}", "layers.{i}.norm{n}.{*}"),
    Rename("LSTT.layers.{i}.short_term_attn.relative_emb_k.{*}", "layers.{i}.relative.{*}", reshape=True),
]

AOT: Table = [
    Drop("LSTT.mask_token", reason="training aid of later code, not used by the forward pass"),
    Rename("LSTT.layers.{i}.self_attn.linear_Q.{*}", "layers.{i}.self_attention.query.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_K.{*}", "layers.{i}.self_attention.key.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_V.{*}", "layers.{i}.self_attention.value.{*}"),
    Rename("LSTT.layers.{i}.self_attn.projection.{*}", "layers.{i}.self_attention.projection.{*}"),
    Rename("LSTT.layers.{i}.linear_Q.{*}", "layers.{i}.query.{*}"),
    Rename("LSTT.layers.{i}.linear_V.{*}", "layers.{i}.value.{*}"),
    Rename("LSTT.layers.{i}.{term}_term_attn.projection.{*}", "layers.{i}.{term}_projection.{*}"),
    Rename("LSTT.layers.{i}.short_term_attn.relative_emb_v", "layers.{i}.relative.value"),
    Rename("LSTT.layers.{i}.linear1.{*}", "layers.{i}.feed_forward.widen.{*}"),
    Rename("LSTT.layers.{i}.activation.gn.{*}", "layers.{i}.feed_forward.norm.{*}"),
    Rename("LSTT.layers.{i}.activation.conv.{*}", "layers.{i}.feed_forward.blend.{*}"),
    Rename("LSTT.layers.{i}.linear2.{*}", "layers.{i}.feed_forward.narrow.{*}"),
    Rename("LSTT.decoder_norms.{i}.{*}", "readout.norms.{i}.{*}"),
]

DEAOT: Table = [
    Rename("id_norm.{*}", "identity_norm.{*}"),
    Rename("LSTT.layers.{i}.id_norm{n}.{*}", "layers.{i}.identity_norm{n}.{*}"),
    Rename("LSTT.layers.{i}.linear_QV.{*}", "layers.{i}.query_value.{*}"),
    Rename("LSTT.layers.{i}.linear_U.{*}", "layers.{i}.gate.{*}"),
    Rename("LSTT.layers.{i}.linear_ID_V.{*}", "layers.{i}.identity_value.{*}"),
    Rename("LSTT.layers.{i}.linear_ID_U.{*}", "layers.{i}.identity_gate.{*}"),
    Rename("LSTT.layers.{i}.{term}_term_attn.dw_conv.conv.{*}", "layers.{i}.{term}_output.blend.{*}"),
    Rename("LSTT.layers.{i}.{term}_term_attn.projection.{*}", "layers.{i}.{term}_output.projection.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_QK.{*}", "layers.{i}.self_propagation.query.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_V1.{*}", "layers.{i}.self_propagation.values.0.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_V2.{*}", "layers.{i}.self_propagation.values.1.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_U1.{*}", "layers.{i}.self_propagation.gates.0.{*}"),
    Rename("LSTT.layers.{i}.self_attn.linear_U2.{*}", "layers.{i}.self_propagation.gates.1.{*}"),
    Rename("LSTT.layers.{i}.self_attn.dw_conv.conv.{*}", "layers.{i}.self_propagation.output.blend.{*}"),
    Rename("LSTT.layers.{i}.self_attn.projection.{*}", "layers.{i}.self_propagation.output.projection.{*}"),
    Rename("LSTT.decoder_norms.0.gn.{*}", "readout.norm.{*}"),
]

SWIN: Table = [
    Drop("encoder.{*}.relative_position_index", reason="follows from the window size"),
    Rename("encoder.patch_embed.proj.{*}", "encoder.features.0.0.{*}"),
    Rename("encoder.patch_embed.norm.{*}", "encoder.features.0.2.{*}"),
    Rename("encoder.norm{n}.{*}", "encoder.norms.{n}.{*}"),
    *(
        rule
        for stage in range(3)
        for published, ours in [(f"encoder.layers.{stage}", f"encoder.features.{2 * stage + 1}")]
        for rule in (
            Rename(f"{published}.blocks.{{i}}.mlp.fc1.{{*}}", f"{ours}.{{i}}.mlp.0.{{*}}"),
            Rename(f"{published}.blocks.{{i}}.mlp.fc2.{{*}}", f"{ours}.{{i}}.mlp.3.{{*}}"),
            Rename(f"{published}.blocks.{{i}}.{{part}}.{{*}}", f"{ours}.{{i}}.{{part}}.{{*}}"),
            Rename(f"{published}.downsample.{{*}}", f"encoder.features.{2 * stage + 2}.{{*}}"),
        )
    ),
]

MOBILENET: Table = [
    Drop("encoder.{*}.num_batches_tracked", reason="batch norm is frozen"),
    Rename("encoder.features.{*}", "encoder.features.{*}"),
]

RESNET: Table = [
    Drop("encoder.{*}.num_batches_tracked", reason="batch norm is frozen"),
    Rename("encoder.conv1.{*}", "encoder.stem.0.{*}"),
    Rename("encoder.bn1.{*}", "encoder.stem.1.{*}"),
    Rename("encoder.layer1.{*}", "encoder.stages.0.{*}"),
    Rename("encoder.layer2.{*}", "encoder.stages.1.{*}"),
    Rename("encoder.layer3.{*}", "encoder.stages.2.{*}"),
]

OF_FAMILY: Mapping[Family, Table] = {"aot": AOT, "deaot": DEAOT}
OF_ENCODER: Mapping[str, Table] = {MOBILENET_V2: MOBILENET, RESNET50: RESNET}


def published_table(config: NetworkConfig) -> Table:
    """The rules for a network."""
    encoder = OF_ENCODER[config.encoder] if isinstance(config.encoder, str) else SWIN
    return [*encoder, *SHARED, *OF_FAMILY[config.family]]


def _checkpoints(family: Family, others: Mapping[str, str]) -> ModelCheckpoints[NetworkConfig, PropagationNetwork]:
    return ModelCheckpoints(
        model=family, configs=CONFIGS[family], build=PropagationNetwork, table=published_table, others=others
    )


CHECKPOINTS: Mapping[Family, ModelCheckpoints[NetworkConfig, PropagationNetwork]] = {
    "aot": _checkpoints("aot", others={"LSTT.layers.{i}.linear_QV.{*}": "deaot-propagate"}),
    "deaot": _checkpoints("deaot", others={"LSTT.layers.{i}.linear_Q.{*}": "aot-propagate"}),
}
