"""Folders of published networks, in miniature: the same file names, loaded strictly."""

import json
import sys

import pytest
import torch
from grounded_sam2 import SAM2Propagator
from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from grounded_sam2.config import SAM2
from program_kit.errors import CheckpointError, WeightsError
from program_kit.weights_table import published_weights
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def published(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("hub") / "sam2.1-hiera-miniature"
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(published, tmp_path):
    """A copy that a test may change."""
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change(folder, work):
    state = load_file(folder / "model.safetensors")
    work(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_folder_is_loaded_as_it_was_saved(published, network):
    assert {"config.json", "model.safetensors"} <= {file.name for file in published.iterdir()}
    loaded = SAM2Propagator.load(published, config="tiny", device="cpu").network
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert "kernels" not in sys.modules


def test_half_precision_files_are_computed_in_float32(folder):
    change(folder, lambda state: state.update({name: tensor.bfloat16() for name, tensor in state.items()}))
    loaded = SAM2Propagator.load(folder, config="tiny", device="cpu").network
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_random_weights_are_reproducible():
    one, same, other = (SAM2_CHECKPOINTS.load("tiny", None, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_published_shapes_are_told_apart():
    known = [SAM2_CHECKPOINTS.identity(SAM2_CHECKPOINTS.build_config(s)) for s in SAM2_CHECKPOINTS.shapes.values()]
    assert all(known.count(identity) == 1 for identity in known)


@pytest.mark.parametrize("name", [name for name in SAM2 if published_weights().get(name)])
def test_published_files_have_the_size_of_our_networks(name):
    """The only check of our shapes that needs no download."""
    size = published_weights()[name].files[0].size
    if size is None:
        pytest.skip("nobody published its size")
    with torch.device("meta"):
        network = SAM2_CHECKPOINTS.network(SAM2_CHECKPOINTS.build_config(SAM2[name]))
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert 0 < size - tensors < 200_000  # the header with the names


def test_a_tensor_too_few_too_many_and_of_another_shape_are_all_said(folder):
    def work(state):
        del state["no_memory_embedding"]
        state["stray.weight"] = torch.zeros(1)
        state["mask_downsample.bias"] = torch.zeros(2)
        state["no_object_pointer"] = torch.full_like(state["no_object_pointer"], torch.nan)

    change(folder, work)
    with pytest.raises(CheckpointError) as raised:
        SAM2Propagator.load(folder, config="tiny", device="cpu")
    message = str(raised.value)
    assert "model.safetensors: does not fit tiny" in message
    assert "missing (1):\n    no_memory_embedding" in message
    assert "unknown (1):\n    stray.weight" in message
    assert "of another shape (1):\n    mask_downsample.bias: expected [1], found [2]" in message
    assert "not finite (1):\n    no_object_pointer" in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, r"found no config\.json; they are at https://huggingface\.co/facebook/"),
        ("model.safetensors", None, r"found no model\.safetensors"),
        ("model.safetensors", b"<!doctype html><html>", r"model\.safetensors: is a web page, not a checkpoint"),
        ("config.json", b"<!doctype html><html>", r"config\.json: not JSON"),
        ("config.json", b'{"model_type": "bert"}', r"is of a model 'bert', not 'sam2_video'"),
        ("config.json", b"[]", r"is of a model None, not 'sam2_video'"),
        ("config.json", b'{"model_type": "sam2_video", "num_maskmem": "x"}', r"not a sound configuration"),
    ],
)
def test_files_that_are_not_what_they_should_be(folder, name, content, message):
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        SAM2Propagator.load(folder, config="tiny", device="cpu")


def test_half_a_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="fetch it again"):
        SAM2Propagator.load(folder, config="tiny", device="cpu")


def test_the_configuration_of_another_network_names_it(folder):
    with pytest.raises(CheckpointError, match="it is that of tiny: give --config tiny"):
        SAM2Propagator.load(folder, device="cpu")
    content = json.loads((folder / "config.json").read_text())
    content["image_size"] = 512
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="is not the configuration of tiny; expected that of tiny"):
        SAM2Propagator.load(folder, config="tiny", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "weights fetch sam2.1-base-plus"),
        ({"checkpoint": "absent"}, "absent: no such folder"),
        ({"seed": 0, "config": "huge"}, r"expected one of sam2\.1-base-plus, sam2\.1-tiny"),
    ],
)
def test_weights_must_be_chosen(arguments, message):
    with pytest.raises(WeightsError, match=message):
        SAM2Propagator.load(device="cpu", **arguments)
