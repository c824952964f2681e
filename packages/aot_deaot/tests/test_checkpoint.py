"""Published checkpoints: every name accounted for, nothing executed, nothing guessed."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from aot_deaot.checkpoint import (
    convert,
    convert_state,
    load_network,
    random_network,
    read_tensors,
    rename,
    rows_for,
)
from aot_deaot.config import CONFIGS, NetworkConfig, SwinShape, named_config
from aot_deaot.errors import CheckpointError, ConfigError
from aot_deaot.network import PropagationNetwork
from golden_cases import find_cases

from .published import network_config, published_state

TESTS = Path(__file__).parent
FAMILIES = ["aot", "deaot"]


def tiny(family):
    (case,) = [c for c in find_cases("", local=TESTS / "goldens") if c.name == f"tiny_{family}"]
    return published_state(case), network_config(case.manifest["config"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_a_published_file_loads_strictly(family, wrapper, tmp_path):
    """As training writes it: wrapped, with `module.` before every name, index buffers and an optimizer beside."""
    state, config = tiny(family)
    window = config.encoder.window
    state["encoder.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(window**2, window**2).long()
    if family == "aot":
        state["LSTT.mask_token"] = torch.zeros(1, 1, config.dim)
    content = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({wrapper: content, "optimizer": {"step": 3}} if wrapper else content, tmp_path / "net.pth")
    network = load_network(tmp_path / "net.pth", config)
    torch.testing.assert_close(network.projector.weight, state["encoder_projector.weight"])
    relative = state["LSTT.layers.1.short_term_attn.relative_emb_k.weight"]
    torch.testing.assert_close(network.layers[1].relative.weight.flatten(), relative.flatten())
    assert not network.training


@pytest.mark.parametrize("name", ["r50_aotl", "deaott"])
def test_names_of_public_variants(name):
    """Names and shapes of checkpoints of the public repository."""
    family = "deaot" if name.startswith("de") else "aot"
    shapes = json.loads((TESTS / "published_names" / f"{name}.json").read_text())
    state = convert_state({n: torch.zeros(shape) for n, shape in shapes.items()}, named_config(family, name))
    assert state.keys() == PropagationNetwork(named_config(family, name)).state_dict().keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_familys_checkpoint_is_named(family):
    state, _ = tiny("aot" if family == "deaot" else "deaot")
    _, config = tiny(family)
    with pytest.raises(CheckpointError, match=rf"family, the network is {family}: use \w+-propagate"):
        convert_state(state, config)


def test_missing_unknown_and_misshapen_entries_are_listed():
    state, config = tiny("aot")
    del state["decoder.conv_out.bias"]
    state["decoder.extra.weight"] = torch.zeros(1)
    state["encoder_projector.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        convert_state(state, config)
    message = str(error.value)
    assert "1 unknown names:\n    decoder.extra.weight" in message
    assert "1 missing (our names):\n    decoder.logits.bias" in message
    assert "1 wrong shapes:\n    encoder_projector.bias is [3], expected [64]" in message


def test_the_config_that_fits_is_suggested():
    shapes = json.loads((TESTS / "published_names" / "deaott.json").read_text())
    with pytest.raises(CheckpointError, match="its names and shapes fit --config deaott"):
        convert_state({n: torch.zeros(shape) for n, shape in shapes.items()}, named_config("deaot", "deaotl"))


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, "net.pth")
    Path("plain.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("net.pth", "plain.pkl"):
        with pytest.raises(CheckpointError, match="would run code"):
            read_tensors(Path(name))
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pth", b"not a checkpoint", "not read"),
        ("net.safetensors", b"not one either", "not a safetensors file"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_tensors(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "absent.pth")
    for strange in ([1, 2], {}, {"epoch": 3}):
        torch.save(strange, tmp_path / "strange.pth")
        with pytest.raises(CheckpointError, match=r"state dict|no tensors"):
            read_tensors(tmp_path / "strange.pth")


@pytest.mark.parametrize("family", FAMILIES)
def test_conversion_round_trip(family, tmp_path):
    state, config = tiny(family)
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    convert(tmp_path / "net.pth", tmp_path / "net.safetensors", config, "tiny")
    first, second = (load_network(tmp_path / name, config).state_dict() for name in ("net.pth", "net.safetensors"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    _, metadata = read_tensors(tmp_path / "net.safetensors")
    assert metadata["family"] == family
    assert json.loads(metadata["source"])["file"] == "net.pth"
    other = "aot" if family == "deaot" else "deaot"
    with pytest.raises(CheckpointError, match=f"checkpoint of the {family} family"):
        load_network(tmp_path / "net.safetensors", named_config(other, "tiny"))
    with pytest.raises(CheckpointError, match="another config"):
        load_network(tmp_path / "net.safetensors", named_config(family, "tiny"))
    with pytest.raises(CheckpointError, match=r"\.safetensors"):
        convert(tmp_path / "net.pth", tmp_path / "net.bin", config, "tiny")


def test_random_weights_are_reproducible_and_leave_the_generator_alone():
    config = named_config("aot", "tiny")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (random_network(seed, config).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["projector.weight"], other["projector.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_drops_say_why(family):
    for config in CONFIGS[family].values():
        for row in rows_for(config):
            assert bool(row.ours) != bool(row.why)
    assert rename("LSTT.nothing", rows_for(config)) == (None, None)


def test_configs_without_sense_are_refused():
    with pytest.raises(ConfigError, match="do not divide into 5 heads"):
        NetworkConfig(family="aot", encoder="resnet50", self_heads=5)
    with pytest.raises(ConfigError, match="Swin stage 0"):
        SwinShape(embed_dim=16, depths=(1, 1, 1), heads=(3, 4, 8), window=4)
    with pytest.raises(ConfigError, match="there are swinl_aotl"):
        named_config("aot", "aotx")
