"""Weights that training starts from: a pretrained backbone, a pretrained text encoder, another network's weights."""

from pathlib import Path

from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import Drop, Rename, Rule, convert
from rvos_layers.encoders.text import TextEncoder
from rvos_layers.encoders.video_swin import VideoSwin, video_swin_rules
from torch import nn
from transformers import RobertaModel

from rvos_training.errors import TrainingError

PREFIX = "backbone."
PATCHES = "backbone.patch_embed.proj.weight"
STAGES_MERGED = "backbone.layers.{i}.downsample.{*}"


def kinetics_table() -> list[Rule]:
    """Names in the published Video-Swin files (Kinetics-400 or -600); the backbone is a module called `backbone`."""
    return [
        Rename(STAGES_MERGED, "backbone.merges.{i}.{*}"),
        Drop("backbone.norm.{*}", reason="the norm after the last stage, whose output is used without it"),
        *video_swin_rules("backbone", "backbone"),
    ]


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load the weights of a published file into a Video-Swin backbone.

    The published patch embedding covers two frames; its weights are summed over time, so that a still clip gives the
    same result.

    Raises:
        TrainingError: the network has another kind of backbone.
        CheckpointError: the file cannot be read or does not fit this backbone.
    """
    if not isinstance(backbone, VideoSwin):
        raise TrainingError(f"{path}: Kinetics weights are for a Video-Swin backbone, not {type(backbone).__name__}")
    checkpoint = read_checkpoint(path)
    state = {name: tensor for name, tensor in checkpoint.state.items() if name.startswith(PREFIX)}
    holder = nn.ModuleDict({"backbone": backbone})
    ours = holder.state_dict()[PATCHES].shape
    if PATCHES in state and state[PATCHES].shape == (*ours[:2], 2, *ours[3:]):
        state[PATCHES] = state[PATCHES].sum(2, keepdim=True)
    holder.load_state_dict(convert(state, kinetics_table(), holder, str(path)), strict=True)


def load_text_encoder(encoder: TextEncoder, source: str) -> None:
    """Load RoBERTa's weights from a folder of transformers, or from the Hugging Face hub or its local cache.

    Raises:
        TrainingError: the weights cannot be loaded, or have other sizes.
    """
    try:
        pretrained = RobertaModel.from_pretrained(source)
    except Exception as error:  # transformers and safetensors raise many types for damaged files
        raise TrainingError(
            f"text encoder {source!r} cannot be loaded ({error}). Pass --text-encoder FOLDER with config.json and "
            "model.safetensors of roberta-base (https://huggingface.co/FacebookAI/roberta-base), a hub id while "
            "online, or `random`"
        ) from error
    try:
        encoder.roberta.load_state_dict(pretrained.state_dict(), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"text encoder {source!r} has other sizes than the configuration: {error}") from error


def load_common_weights(network: nn.Module, path: Path) -> None:
    """Load what a network has in common with another one: the weights of equal name and shape.

    MUTR is ReferFormer with two more parts, and UNINEXT has the same parts after either backbone: training of one can
    start from what the other has learned.

    Args:
        network: keeps its other weights.
        path: weights of the other network, with the names of this workspace.

    Raises:
        CheckpointError: the file cannot be read.
        TrainingError: the two networks have nothing in common.
    """
    own = network.state_dict()
    state = read_checkpoint(path).state
    common = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    if not common:
        raise TrainingError(
            f"{path}: expected weights of a similar network; none of its {len(state)} parameters has name and "
            "shape of one of this network"
        )
    network.load_state_dict(common, strict=False)
