"""Published checkpoints: both name layouts are read, everything unexpected is refused by name."""

import argparse
from pathlib import Path

import pytest
import torch
from golden_cases import find_cases
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import convert
from soc import checkpoint
from soc.checkpoint import published_table
from soc.model import SOC
from soc_cases import config_of, published_state

[CASE] = [case for case in find_cases("soc", local=Path(__file__).parent / "goldens") if case.name == "tiny"]
CONFIG = config_of(CASE.manifest["config"])
TABLE = published_table(CONFIG)
CHECKPOINTS = checkpoint.CHECKPOINTS.with_config("golden", CONFIG)


def fresh() -> SOC:
    torch.manual_seed(1)
    return SOC(CONFIG)


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return convert(published_state(CASE), TABLE, fresh(), "tiny")


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    """A whole published state dict, with the integers that follow from the configuration."""
    state = published_state(CASE)
    model = fresh()
    indices = {}
    for stage, blocks in enumerate(model.video.backbone.stages):
        for number, block in enumerate(blocks):
            name = f"backbone.0.body.layers.{stage}.blocks.{number}.attn.relative_position_index"
            indices[name] = block.attn.relative_position_index.clone()
    positions = torch.arange(CONFIG.text.positions)[None]
    return {**state, **indices, "text_encoder.embeddings.position_ids": positions}


def refusal(state: dict[str, torch.Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        convert(state, TABLE, fresh(), "tiny.pth")
    return str(caught.value)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_name_of_the_manifest_is_known(published):
    assert set(published) == {name for name, *_ in CASE.manifest["state_dict"]}


def test_constants_are_checked_and_may_be_absent(published, expected):
    assert same(convert(published, TABLE, fresh(), "tiny"), expected)
    flat = {name: t.flatten() if name.endswith("position_index") else t for name, t in published.items()}
    assert same(convert(flat, TABLE, fresh(), "tiny"), expected)
    published["text_encoder.embeddings.position_ids"][0, 3] = 0
    published["backbone.0.body.layers.1.blocks.0.attn.relative_position_index"][0, 0] += 1
    message = refusal(published)
    assert "wrong (2)" in message
    assert "text_encoder.embeddings.position_ids: must equal what the configuration implies" in message
    assert "layers.1.blocks.0.attn.relative_position_index" in message


def test_the_authors_own_layout(published, expected):
    voc = {name.replace("vita.", "voc.") if name.startswith("vita.") else name: t for name, t in published.items()}
    assert voc.keys() != published.keys()
    assert same(convert(voc, TABLE, fresh(), "tiny"), expected)


def test_both_layouts_at_once_are_refused(published):
    message = refusal({**published, "voc.fq_pos.weight": published["vita.fq_pos.weight"]})
    assert "voc.fq_pos.weight: stands for the same entry as vita.fq_pos.weight" in message


def test_everything_wrong_is_listed_at_once(published):
    del published["vita.fq_pos.weight"], published["controller.layers.2.bias"]
    published["class_embed.0.weight"] = torch.zeros(1, 7)
    published["query_embed.weight"] = published["query_embed.weight"].long()
    published["lvf.multihead_attn.in_proj_bias"][3] = float("nan")
    published["head.weight"] = torch.zeros(3)
    published["class_embed.3.weight"] = torch.zeros(1, CONFIG.hidden_size)
    message = refusal(published)
    for part in (
        "tiny.pth",
        "unknown (2)",
        "head.weight [3]",
        "class_embed.3.weight",
        "missing (2)",
        "cluster.frame_position.weight [5, 128]",
        "controller.layers.2.bias [169]",
        "wrong (3)",
        "class_embed.0.weight: expected shape [1, 128], found [1, 7]",
        "query_embed.weight: expected floating point numbers",
        "lvf.multihead_attn.in_proj_bias: has values that are not finite",
    ):
        assert part in message


def test_the_second_copy_of_the_box_heads_must_agree(published):
    name = "transformer.decoder.bbox_embed.1.layers.0.bias"
    published[name] = published[name] + 1
    assert f"{name}: must equal bbox_embed.1.layers.0.bias" in refusal(published)


def test_a_checkpoint_as_training_leaves_it(published, expected, tmp_path):
    path = tmp_path / "joint_base.tar"
    content = {f"module.{name}": tensor for name, tensor in published.items()}
    torch.save({"model_state_dict": content, "epoch": 29, "args": argparse.Namespace(lr=1e-4)}, path)
    assert same(dict(CHECKPOINTS.load(path, "golden").state_dict()), expected)


def test_nothing_is_left_without_memory(published, tmp_path):
    """Loading builds the network without its parameters; the buffers that no file holds must be there."""
    torch.save(published, tmp_path / "joint_base.tar")
    network, built = CHECKPOINTS.load(tmp_path / "joint_base.tar", "golden"), fresh()
    assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
    assert same(dict(network.named_buffers()), dict(built.named_buffers()))


def test_conversion_keeps_the_weights_and_says_where_they_came_from(published, expected, tmp_path):
    source, target = tmp_path / "joint_base.tar", tmp_path / "out" / "soc.safetensors"
    torch.save({"model_state_dict": published}, source)
    CHECKPOINTS.convert(source, target, "golden")
    origin = Origin(model="soc", config="golden", source_sha256=read_checkpoint(source).sha256)
    assert read_checkpoint(target).origin == origin
    assert same(dict(CHECKPOINTS.load(target, "golden").state_dict()), expected)
    with pytest.raises(CheckpointError, match="for configuration 'golden', not for 'tiny'"):
        CHECKPOINTS.load(target, "tiny")


def test_the_program_of_another_models_file_is_named(published, tmp_path):
    torch.save({**published, "pixel_decoder.mask_features.weight": torch.zeros(1)}, tmp_path / "ytvos.pth")
    with pytest.raises(CheckpointError, match=r"ytvos\.pth: is not a checkpoint of soc, .*; use referformer-infer or"):
        CHECKPOINTS.load(tmp_path / "ytvos.pth", "golden")


def test_a_truncated_checkpoint(published, tmp_path):
    path = tmp_path / "joint_base.tar"
    torch.save({"model_state_dict": published}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"joint_base\.tar"):
        CHECKPOINTS.load(path, "golden")
