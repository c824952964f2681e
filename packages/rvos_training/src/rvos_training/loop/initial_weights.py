"""Weights that training starts from: a backbone that knows actions, a text encoder that knows language, a relative."""

from pathlib import Path

from rvos_layers.checkpoint import Drop, Rename, Rule, convert, read_checkpoint
from rvos_layers.encoders.text import TextEncoder
from rvos_layers.encoders.video_swin import VideoSwin, video_swin_rules
from torch import nn
from transformers import RobertaModel

from rvos_training.errors import TrainingError

PREFIX = "backbone."
PATCHES = "backbone.patch_embed.proj.weight"
STAGES_MERGED = "backbone.layers.{i}.downsample.{*}"


def kinetics_table() -> list[Rule]:
    """Names in the published Video-Swin files (Kinetics-400 or -600), under a module called `backbone`."""
    return [
        Rename(STAGES_MERGED, "backbone.merges.{i}.{*}"),
        Drop("backbone.norm.{*}", reason="the norm behind the last stage; its output is taken before"),
        *video_swin_rules("backbone", "backbone"),
    ]


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Fill a Video-Swin backbone from a published file.

    The files embed two frames at once; their weights are summed over time, so that a still clip looks the same.

    Raises:
        TrainingError: the network has another backbone.
        CheckpointError: the file cannot be read or is not of this backbone.
    """
    if not isinstance(backbone, VideoSwin):
        raise TrainingError(f"{path}: Kinetics weights are for a Video-Swin backbone, not {type(backbone).__name__}")
    checkpoint = read_checkpoint(path)
    state = {name: tensor for name, tensor in checkpoint.state.items() if name.startswith(PREFIX)}
    if PATCHES in state:
        state[PATCHES] = state[PATCHES].sum(2, keepdim=True)
    holder = nn.ModuleDict({"backbone": backbone})
    holder.load_state_dict(convert(state, kinetics_table(), holder, str(path)), strict=True)


def load_text_encoder(encoder: TextEncoder, source: str) -> None:
    """Fill RoBERTa from a folder as transformers saves it, or from the Hugging Face hub or its local cache.

    Raises:
        TrainingError: it cannot be had, or has other sizes.
    """
    try:
        pretrained = RobertaModel.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"text encoder {source!r} cannot be had ({error}). Pass --text-encoder FOLDER with config.json and "
            "model.safetensors of roberta-base (https://huggingface.co/FacebookAI/roberta-base), a hub id while "
            "online, or `random`"
        ) from error
    try:
        encoder.roberta.load_state_dict(pretrained.state_dict(), strict=True)
    except RuntimeError as error:
        raise TrainingError(f"text encoder {source!r} has other sizes than the configuration: {error}") from error


def load_relative(network: nn.Module, path: Path) -> None:
    """Fill a network with what it has in common with another: parameters of the same name and shape.

    MUTR is ReferFormer with two parts more, UNINEXT has the same parts behind either backbone: what one has learned
    is a start for the other.

    Args:
        network: the rest of it stays as it is.
        path: the other one's weights, in our names.

    Raises:
        CheckpointError: the file cannot be read.
        TrainingError: the two have nothing in common.
    """
    own = network.state_dict()
    state = read_checkpoint(path).state
    common = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    if not common:
        raise TrainingError(f"{path}: none of its {len(state)} parameters has name and shape of one of this network's")
    network.load_state_dict(common, strict=False)
