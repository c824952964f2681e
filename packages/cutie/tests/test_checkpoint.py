"""Published checkpoints: every name accounted for, nothing executed, nothing guessed."""

from pathlib import Path

import pytest
import torch
from cutie.checkpoint import CHECKPOINTS, published_table
from cutie.config import BASE, CONFIGS, NetworkConfig, ResNetShape, named_config
from cutie.errors import ConfigError
from cutie.model import Cutie
from golden_cases import find_cases
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.model_checkpoints import Unallocated
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import Drop, convert

from .published import network_config, published_shapes, published_state

TESTS = Path(__file__).parent


def golden():
    """A published state dict, and the checkpoints with a configuration `golden`, which it fits."""
    (case,) = [c for c in find_cases("", local=TESTS / "goldens") if c.name == "network"]
    return published_state(case), CHECKPOINTS.with_config("golden", network_config(case))


def named_file(config, path):
    torch.save({name: torch.zeros(shape) for name, shape in published_shapes(config).items()}, path)
    return path


@pytest.mark.parametrize("config", ["base", "small"])
def test_names_and_shapes_of_the_public_files(config):
    with Unallocated():
        network = Cutie(CONFIGS[config])
    published = {name: torch.zeros(shape) for name, shape in published_shapes(config).items()}
    assert convert(published, published_table(network.config), network, config).keys() == network.state_dict().keys()


def test_a_published_file_loads_strictly(tmp_path):
    state, checkpoints = golden()
    torch.save(state, tmp_path / "net.pth")
    network = checkpoints.load(tmp_path / "net.pth", "golden")
    assert torch.equal(network.keys.selection.bias, state["key_proj.e_proj.bias"])
    own = state["object_transformer.blocks.1.read_from_query.cross_attn.in_proj_weight"]
    assert torch.equal(network.object_transformer.blocks[1].pixels_read_queries.in_proj_weight, own)


def test_missing_unknown_and_misshapen_entries_are_listed():
    state, checkpoints = golden()
    del state["mask_decoder.pred.bias"]
    state["mask_decoder.extra.weight"] = torch.zeros(1)
    state["pix_feat_proj.bias"] = torch.zeros(3)
    network = Cutie(checkpoints.configs["golden"])
    with pytest.raises(CheckpointError) as error:
        convert(state, published_table(network.config), network, "net.pth")
    message = str(error.value)
    assert "unknown (1):\n    mask_decoder.extra.weight [1]" in message
    assert "missing (1):\n    decoder.logits.bias [1] (our name)" in message
    assert "wrong (1):\n    pix_feat_proj.bias: expected shape [32], found [3]" in message


def test_the_config_that_fits_is_suggested(tmp_path):
    with pytest.raises(CheckpointError, match=r"its names and shapes fit config small$"):
        CHECKPOINTS.load(named_file("small", tmp_path / "net.pth"), "base")


@pytest.mark.parametrize(("name", "program"), [("linear_Q", "aot-propagate"), ("linear_QV", "deaot-propagate")])
def test_the_program_of_another_propagators_checkpoint_is_named(name, program, tmp_path):
    torch.save({f"LSTT.layers.0.{name}.weight": torch.zeros(4, 4)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=rf"is not a checkpoint of cutie, .*; use {program}$"):
        CHECKPOINTS.load(tmp_path / "net.pth", "base")


def test_conversion_round_trip(tmp_path):
    state, checkpoints = golden()
    source, target = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torch.save(state, source)
    checkpoints.convert(source, target, "golden")
    first, second = (checkpoints.load(path, "golden").state_dict() for path in (source, target))
    assert all(torch.equal(first[name], second[name]) for name in first)
    sha256 = read_checkpoint(source).sha256
    assert read_checkpoint(target).origin == Origin(model="cutie", config="golden", source_sha256=sha256)
    with pytest.raises(CheckpointError, match="for configuration 'golden', not for 'tiny'"):
        checkpoints.load(target, "tiny")


def test_drops_say_why():
    for config in CONFIGS.values():
        assert all(rule.reason for rule in published_table(config) if isinstance(rule, Drop))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: named_config("huge"), "there are base, small, tiny"),
        (lambda: ResNetShape(block="wide", depths=(1, 1, 1)), "block is one of basic, bottleneck"),
        (lambda: ResNetShape(block="basic", depths=(1, 0, 1)), "depths"),
        (lambda: NetworkConfig(image_encoder=BASE.image_encoder, mask_encoder=BASE.mask_encoder, queries=3), "even"),
        (lambda: NetworkConfig(image_encoder=BASE.image_encoder, mask_encoder=BASE.mask_encoder, dim=30), "divide"),
        (lambda: NetworkConfig(image_encoder=BASE.image_encoder, mask_encoder=BASE.mask_encoder, blocks=0), "blocks"),
    ],
)
def test_configs_without_sense_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
