"""Published checkpoints: every name goes somewhere, everything unexpected is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_cases import find_cases
from golden_cases.grounded.loading import shared_sizes, torch_weights
from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.table import convert
from referformer.checkpoint import CHECKPOINTS, published_table
from referformer.config import CONFIGS, ReferFormerConfig
from referformer.model import ReferFormer
from rvos_layers.encoders.config import ResNetConfig
from torchvision.models.resnet import Bottleneck, ResNet

[CASE] = [case for case in find_cases("referformer", local=Path(__file__).parent / "goldens") if case.name == "tiny"]
CONFIG = ReferFormerConfig(**shared_sizes(CASE.manifest["config"]))


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    """A whole published state dict, with the integers that follow from the configuration."""
    state = torch_weights(CASE)
    for stage, blocks in enumerate(ReferFormer(CONFIG).video.backbone.stages):
        for number, block in enumerate(blocks):
            name = f"backbone.0.body.layers.{stage}.blocks.{number}.attn.relative_position_index"
            tokens = torch.tensor(block.window).prod()
            state[name] = block.attn.relative_position_index.reshape(tokens, tokens)
    state["text_encoder.embeddings.position_ids"] = torch.arange(CONFIG.text.positions)[None]
    return state


def refusal(state: dict[str, torch.Tensor], config: ReferFormerConfig = CONFIG) -> str:
    with pytest.raises(CheckpointError) as caught:
        convert(state, published_table(config), ReferFormer(config), "tiny.pth")
    return str(caught.value)


def test_every_name_of_the_manifest_is_claimed(published):
    assert published.keys() == {name for name, *_ in CASE.manifest["state_dict"]}
    model = ReferFormer(CONFIG)
    assert convert(published, published_table(CONFIG), model, "tiny.pth").keys() == model.state_dict().keys()


def test_the_file_as_training_leaves_it(published, tmp_path):
    path = tmp_path / "ytvos.pth"
    torch.save({"model": published, "optimizer": {"state": {}}, "epoch": 11}, path)
    model = CHECKPOINTS.with_config("golden", CONFIG).load(path, "golden")
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    torch.testing.assert_close(model.class_heads[2].weight, published["class_embed.2.weight"], rtol=0, atol=0)
    adapter = model.masks.decoder.adapters[0][0]
    torch.testing.assert_close(adapter.weight, published["pixel_decoder.adapter_1.weight"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "program"), [("MTA.layers.0.norm1.bias", "mutr-infer"), ("voc.fq_pos.weight", "soc-infer")]
)
def test_the_program_of_another_models_file_is_named(published, tmp_path, name, program):
    torch.save({**published, name: torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=f"not a checkpoint of referformer, .* holds {name}; use {program}"):
        CHECKPOINTS.load(tmp_path / "other.pth", "video-swin-b")


def test_everything_wrong_is_listed(published):
    del published["pixel_decoder.cross_attn_3.norm2.bias"]
    published["fusion_module.multihead_attn.out_proj.weight"] = torch.zeros(3, 3)
    published["transformer.decoder.bbox_embed.0.layers.0.bias"] = torch.zeros(CONFIG.transformer.hidden_size)
    published["total_ops"] = torch.zeros(1)
    message = refusal(published)
    for part in (
        "unknown (1)",
        "total_ops [1]",
        "missing (1)",
        "masks.decoder.readings.2.attention.norm.bias",
        "wrong (2)",
        "fusion_module.multihead_attn.out_proj.weight: expected shape [64, 64], found [3, 3]",
        "transformer.decoder.bbox_embed.0.layers.0.bias: must equal bbox_embed.0.layers.0.bias",
    ):
        assert part in message


def test_another_backbone_is_another_configuration(published):
    config = replace(CONFIG, backbone=ResNetConfig(depths=(1, 1, 1, 1)))
    assert "unknown" in refusal(published, config)
    state = {name: tensor for name, tensor in published.items() if not name.startswith("backbone.")}
    for name, tensor in ResNet(Bottleneck, [1, 1, 1, 1]).state_dict().items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            state[f"backbone.0.body.{name}"] = tensor
    channels, widths = config.transformer.hidden_size, config.backbone.stage_channels
    for level, (width, kernel) in enumerate([(w, 1) for w in widths[1:]] + [(widths[-1], 3)]):
        state[f"input_proj.{level}.0.weight"] = torch.zeros(channels, width, kernel, kernel)
    state["pixel_decoder.adapter_1.weight"] = torch.zeros(channels, widths[0], 1, 1)
    model = ReferFormer(config)
    ours = convert(state, published_table(config), model, "resnet.pth")
    assert ours.keys() == model.state_dict().keys()
    assert ours["video.backbone.stages.3.0.conv2.weight"] is state["backbone.0.body.layer4.0.conv2.weight"]


@pytest.mark.parametrize(
    ("name", "millions"),  # of parameters; the first is the published network's
    [("video-swin-b", 237.6), ("video-swin-s", 198.7), ("video-swin-t", 177.1), ("resnet-50", 176.3)],
)
def test_sizes_of_the_configurations(name, millions):
    with torch.device("meta"):
        model = ReferFormer(CONFIGS[name])
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == millions
