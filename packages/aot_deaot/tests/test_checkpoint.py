"""Published checkpoints: every name accounted for, nothing executed, nothing guessed."""

import json
from pathlib import Path

import pytest
import torch
from aot_deaot.checkpoint import CHECKPOINTS, published_table
from aot_deaot.config import CONFIGS, NetworkConfig, SwinShape, named_config
from aot_deaot.errors import ConfigError
from aot_deaot.network import PropagationNetwork
from golden_cases import find_cases
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import Drop, convert, our_name

from .published import network_config, published_state

TESTS = Path(__file__).parent
FAMILIES = ["aot", "deaot"]


def golden(family):
    """A published state dict, and the checkpoints of its family with a configuration `golden`, which it fits."""
    (case,) = [c for c in find_cases("", local=TESTS / "goldens") if c.name == f"tiny_{family}"]
    return published_state(case), CHECKPOINTS[family].with_config("golden", network_config(case.manifest["config"]))


def named_file(name, path):
    """A checkpoint with the names and shapes of a public one."""
    shapes = json.loads((TESTS / "published_names" / f"{name}.json").read_text())
    torch.save({n: torch.zeros(shape) for n, shape in shapes.items()}, path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_a_published_file_loads_strictly(family, wrapper, tmp_path):
    """As training writes it: wrapped, with `module.` before every name, index buffers and an optimizer beside."""
    state, checkpoints = golden(family)
    config = checkpoints.configs["golden"]
    window = config.encoder.window
    state["encoder.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(window**2, window**2).long()
    if family == "aot":
        state["LSTT.mask_token"] = torch.zeros(1, 1, config.hidden_size)
    content = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({wrapper: content, "optimizer": {"step": 3}} if wrapper else content, tmp_path / "net.pth")
    network = checkpoints.load(tmp_path / "net.pth", "golden")
    assert torch.equal(network.projector.weight, state["encoder_projector.weight"])
    relative = state["LSTT.layers.1.short_term_attn.relative_emb_k.weight"]
    assert torch.equal(network.layers[1].relative.weight.flatten(), relative.flatten())


@pytest.mark.parametrize("name", ["r50_aotl", "deaott"])
def test_names_of_public_variants(name, tmp_path):
    """Names and shapes of checkpoints of the public repository."""
    family = "deaot" if name.startswith("de") else "aot"
    published = read_checkpoint(named_file(name, tmp_path / "net.pth")).state
    network = PropagationNetwork(named_config(family, name))
    assert convert(published, published_table(network.config), network, name).keys() == network.state_dict().keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_program_of_the_other_familys_checkpoint_is_named(family, tmp_path):
    other = "aot" if family == "deaot" else "deaot"
    state, _ = golden(other)
    torch.save(state, tmp_path / "net.pth")
    message = rf"net\.pth: is not a checkpoint of {family}, because it holds LSTT\S+; use {other}-propagate"
    with pytest.raises(CheckpointError, match=message):
        CHECKPOINTS[family].load(tmp_path / "net.pth", "tiny")


def test_missing_unknown_and_misshapen_entries_are_listed():
    state, checkpoints = golden("aot")
    del state["decoder.conv_out.bias"]
    state["decoder.extra.weight"] = torch.zeros(1)
    state["encoder_projector.bias"] = torch.zeros(3)
    network = PropagationNetwork(checkpoints.configs["golden"])
    with pytest.raises(CheckpointError) as error:
        convert(state, published_table(network.config), network, "net.pth")
    message = str(error.value)
    assert "unknown (1):\n    decoder.extra.weight [1]" in message
    assert "missing (1):\n    decoder.logits.bias [11] (our name)" in message
    assert "wrong (1):\n    encoder_projector.bias: expected shape [64], found [3]" in message


def test_the_config_that_fits_is_suggested(tmp_path):
    with pytest.raises(CheckpointError, match=r"its names and shapes fit config deaott$"):
        CHECKPOINTS["deaot"].load(named_file("deaott", tmp_path / "net.pth"), "deaotl")


@pytest.mark.parametrize("family", FAMILIES)
def test_conversion_round_trip(family, tmp_path):
    state, checkpoints = golden(family)
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    source, target = tmp_path / "net.pth", tmp_path / "net.safetensors"
    checkpoints.convert(source, target, "golden")
    first, second = (checkpoints.load(path, "golden").state_dict() for path in (source, target))
    assert all(torch.equal(first[name], second[name]) for name in first)
    sha256 = read_checkpoint(source).sha256
    assert read_checkpoint(target).origin == Origin(model=family, config="golden", source_sha256=sha256)
    other = "aot" if family == "deaot" else "deaot"
    with pytest.raises(CheckpointError, match=f"is a checkpoint of {family}, expected one of {other}"):
        CHECKPOINTS[other].load(target, "tiny")
    with pytest.raises(CheckpointError, match="for configuration 'golden', not for 'tiny'"):
        checkpoints.load(target, "tiny")


@pytest.mark.parametrize("family", FAMILIES)
def test_bundled_weights_are_of_their_family(family):
    """Their metadata has a layout of its own: the family stands where the model is looked for today."""
    path = TESTS.parent / "src" / "aot_deaot" / f"demo_{family}.safetensors"
    origin = read_checkpoint(path).origin
    assert (origin.model, origin.config) == (family, "demo")
    CHECKPOINTS[family].load(path, "demo")


@pytest.mark.parametrize("family", FAMILIES)
def test_drops_say_why(family):
    for config in CONFIGS[family].values():
        assert all(rule.reason for rule in published_table(config) if isinstance(rule, Drop))
    assert our_name("LSTT.nothing", published_table(config)) is None


def test_configs_without_sense_are_refused():
    with pytest.raises(ConfigError, match="do not divide into 5 heads"):
        NetworkConfig(family="aot", encoder="resnet50", num_heads=5)
    with pytest.raises(ConfigError, match="Swin stage 0"):
        SwinShape(embed_dim=16, depths=(1, 1, 1), num_heads=(3, 4, 8), window=4)
    with pytest.raises(ConfigError, match="there are swinl_aotl"):
        named_config("aot", "aotx")
