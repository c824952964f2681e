"""Kinetics and RoBERTa weights from files as they are published, drawn here."""

from pathlib import Path

import pytest
import torch
from program_kit.errors import CheckpointError
from rvos_layers.encoders.config import ResNetConfig, TextConfig, VideoSwinConfig
from rvos_layers.encoders.resnet import ResNet
from rvos_layers.encoders.text import TextEncoder
from rvos_layers.encoders.video_swin import VideoSwin
from rvos_training.errors import TrainingError
from rvos_training.loop.initial_weights import load_backbone, load_common_weights, load_text_encoder
from safetensors.torch import save_file
from torch import nn
from transformers import RobertaConfig, RobertaModel

SWIN = VideoSwinConfig(hidden_size=16, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window=(2, 3, 3))
TEXT = TextConfig(vocab_size=40, hidden_size=16, layers=1, num_heads=2, feedforward_dim=16, positions=20)


def as_published(swin: VideoSwin) -> dict[str, torch.Tensor]:
    """The names of the release, with a patch of two frames, a norm and a classifier that nobody takes."""
    state = {"backbone.norm.weight": torch.ones(128), "backbone.norm.bias": torch.zeros(128)}
    state["cls_head.fc_cls.weight"] = torch.ones(400, 128)
    for name, tensor in swin.state_dict().items():
        name = name.replace("merges.", "layers.").replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.")
        part = name.split(".")
        if part[0] == "stages":
            name = ".".join(("layers", part[1], "blocks", *part[2:]))
        elif part[0] == "layers":
            name = ".".join((*part[:2], "downsample", *part[2:]))
        state[f"backbone.{name}"] = tensor.clone()
    for stage, block in ((0, 0), (1, 0), (1, 1), (2, 0), (3, 0)):
        index = swin.get_submodule(f"stages.{stage}.{block}.attn").get_buffer("relative_position_index")
        state[f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index"] = index.reshape(18, 18)
    patches = state["backbone.patch_embed.proj.weight"]
    state["backbone.patch_embed.proj.weight"] = torch.cat((0.25 * patches, 0.75 * patches), dim=2)
    return state


def test_kinetics_weights_are_summed_over_time(tmp_path):
    source, target = VideoSwin(SWIN), VideoSwin(SWIN)
    torch.save({"state_dict": as_published(source), "meta": {"epoch": 30}}, tmp_path / "swin.pth")
    load_backbone(target, tmp_path / "swin.pth")
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


def test_another_backbone_is_refused(tmp_path):
    torch.save({"state_dict": as_published(VideoSwin(SWIN))}, tmp_path / "swin.pth")
    wider = VideoSwin(VideoSwinConfig(hidden_size=32, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window=(2, 3, 3)))
    with pytest.raises(CheckpointError, match=r"swin\.pth"):
        load_backbone(wider, tmp_path / "swin.pth")
    with pytest.raises(TrainingError, match="Video-Swin"):
        load_backbone(ResNet(ResNetConfig()), tmp_path / "swin.pth")


def test_patches_of_another_shape_are_named(tmp_path):
    state = as_published(VideoSwin(SWIN))
    torch.save({"state_dict": state | {"backbone.patch_embed.proj.weight": torch.zeros(3)}}, tmp_path / "swin.pth")
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight: expected shape .* found \[3\]"):
        load_backbone(VideoSwin(SWIN), tmp_path / "swin.pth")


def save_as_transformers(encoder: TextEncoder, folder: Path) -> None:
    """As the files of roberta-base are published."""
    config = RobertaConfig(
        vocab_size=TEXT.vocab_size,
        hidden_size=TEXT.hidden_size,
        num_hidden_layers=TEXT.layers,
        num_attention_heads=TEXT.num_heads,
        intermediate_size=TEXT.feedforward_dim,
        max_position_embeddings=TEXT.positions,
        type_vocab_size=1,
    )
    published = RobertaModel(config)
    published.load_state_dict(encoder.roberta.state_dict())
    published.save_pretrained(folder)


def test_a_damaged_text_encoder_is_named(tmp_path):
    save_as_transformers(TextEncoder(TEXT, 32), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(TrainingError, match=r"text encoder .* cannot be loaded"):
        load_text_encoder(TextEncoder(TEXT, 32), str(tmp_path))


def test_a_text_encoder_from_a_folder(tmp_path):
    source, target = TextEncoder(TEXT, 32), TextEncoder(TEXT, 32)
    save_as_transformers(source, tmp_path)
    load_text_encoder(target, str(tmp_path))
    for name, tensor in source.roberta.state_dict().items():
        assert torch.equal(target.roberta.state_dict()[name], tensor), name


def test_a_text_encoder_of_other_sizes_is_refused(tmp_path):
    save_as_transformers(TextEncoder(TEXT, 32), tmp_path)
    other = TextEncoder(
        TextConfig(vocab_size=41, hidden_size=16, layers=1, num_heads=2, feedforward_dim=16, positions=20), 32
    )
    with pytest.raises(TrainingError, match="other sizes"):
        load_text_encoder(other, str(tmp_path))


def test_an_absent_text_encoder_says_what_to_pass(tmp_path):
    with pytest.raises(TrainingError, match="--text-encoder FOLDER"):
        load_text_encoder(TextEncoder(TEXT, 32), str(tmp_path / "nothing"))


def test_a_relative_lends_what_fits_and_no_more(tmp_path):
    ours = nn.ModuleDict({"same": nn.Linear(2, 2), "wider": nn.Linear(3, 2), "own": nn.Linear(2, 2)})
    theirs = nn.ModuleDict({"same": nn.Linear(2, 2), "wider": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    save_file(theirs.state_dict(), tmp_path / "other.safetensors")
    load_common_weights(ours, tmp_path / "other.safetensors")
    after = ours.state_dict()
    taken = {name for name in before if not torch.equal(before[name], after[name])}
    assert taken == {"same.weight", "same.bias", "wider.bias"}
    assert all(torch.equal(after[name], theirs.state_dict()[name]) for name in taken)
    with pytest.raises(TrainingError, match="none of its 6"):
        load_common_weights(nn.Conv2d(1, 1, 1), tmp_path / "other.safetensors")
