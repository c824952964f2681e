"""Published checkpoints: both name layouts are read, everything else that is unexpected is refused by name."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import find_cases
from rvos_layers.checkpoint import convert, load_weights, read_checkpoint, save_converted
from rvos_layers.errors import CheckpointError
from safetensors import safe_open
from soc.checkpoint import published_table
from soc.model import SOC
from soc_cases import config_of, published_state

[CASE] = [case for case in find_cases("soc", local=Path(__file__).parent / "goldens") if case.name == "tiny"]
CONFIG = config_of(CASE.manifest["config"])
TABLE = published_table(CONFIG)


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
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()
    path = tmp_path / "joint_base.tar"
    torch.save(
        {
            "model_state_dict": {f"module.{name}": tensor for name, tensor in published.items()},
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler_state_dict": torch.optim.lr_scheduler.MultiStepLR(optimizer, [20]).state_dict(),
            "epoch": 29,
            "best_loss": np.float64(0.5),
            "args": argparse.Namespace(lr=1e-4),
        },
        path,
    )
    model = fresh()
    load_weights(model, read_checkpoint(path), TABLE, name="soc", config="joint-base")
    assert same(dict(model.state_dict()), expected)


def test_conversion_keeps_the_weights_and_says_where_they_came_from(published, expected, tmp_path):
    source, target = tmp_path / "joint_base.tar", tmp_path / "out" / "soc.safetensors"
    torch.save({"model_state_dict": published}, source)
    model, checkpoint = fresh(), read_checkpoint(source)
    load_weights(model, checkpoint, TABLE, name="soc", config="joint-base")
    save_converted(target, model, name="soc", config="joint-base", source_sha256=checkpoint.sha256)
    with safe_open(target, framework="pt") as file:
        assert file.metadata() == {"model": "soc", "config": "joint-base", "source_sha256": checkpoint.sha256}
    again = fresh()
    load_weights(again, read_checkpoint(target), TABLE, name="soc", config="joint-base")
    assert same(dict(again.state_dict()), expected)
    for wrong in ({"name": "mutr", "config": "joint-base"}, {"name": "soc", "config": "tiny"}):
        with pytest.raises(CheckpointError, match="was converted for"):
            load_weights(again, read_checkpoint(target), TABLE, **wrong)
    with pytest.raises(CheckpointError, match=r"\.safetensors"):
        save_converted(tmp_path / "soc.pth", model, name="soc", config="joint-base", source_sha256="")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(BOMBED),))


BOMBED = "soc-test-bomb-went-off"


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bomb.tar"
    torch.save({"model_state_dict": {"a": torch.zeros(1)}, "extra": Bomb()}, path)
    with pytest.raises(CheckpointError, match=r"bomb\.tar: refused.*could run code"):
        read_checkpoint(path)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="refused"):
        read_checkpoint(tmp_path / "bare.pkl")
    assert not Path(BOMBED).exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.tar", None, "no such checkpoint"),
        ("cut.tar", b"PK\x03\x04 and nothing more", "refused|damaged"),
        ("empty.tar", b"", "damaged"),
        ("noise.safetensors", b"\xff" * 100, "not a readable safetensors file"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}.*({message})"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(2)], {"model": {"a": 3}}])
def test_files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_checkpoint(tmp_path / "other.pth")


def test_a_truncated_checkpoint(published, tmp_path):
    path = tmp_path / "joint_base.tar"
    torch.save({"model_state_dict": published}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"joint_base\.tar"):
        read_checkpoint(path)
