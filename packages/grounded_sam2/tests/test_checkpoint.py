"""Folders of published networks, in miniature: the same file names, loaded strictly."""

import json
import sys

import pytest
import torch
from grounded_sam2 import GroundedSAM2Predictor, SAM2Propagator
from grounded_sam2.checkpoint import GROUNDING_DINO_CHECKPOINTS, SAM2_CHECKPOINTS, load_tokenizer
from program_kit.errors import CheckpointError, WeightsError
from program_kit.weights_table import published_weights
from safetensors.torch import load_file, save_file
from transformers import BertTokenizerFast


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


@pytest.mark.parametrize("checkpoints", [SAM2_CHECKPOINTS, GROUNDING_DINO_CHECKPOINTS], ids=["sam2", "detector"])
def test_published_files_have_the_size_of_our_networks(checkpoints):
    """The only check of our shapes that needs no download."""
    sizes = {name: published_weights()[name].files[0].size for name in checkpoints.shapes if name != "tiny"}
    assert len([size for size in sizes.values() if size]) >= 2
    for name, size in sizes.items():
        if size is None:
            continue  # nobody published it
        with torch.device("meta"):
            network = checkpoints.network(checkpoints.build_config(checkpoints.shapes[name]))
        tensors = sum(parameter.numel() * 4 for parameter in network.parameters())  # shared ones are stored once
        indices = [b.numel() * 8 for buffer, b in network.named_buffers() if buffer.endswith("relative_position_index")]
        assert 0 < size - tensors - sum(indices) < 200_000, name  # the header with the names


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
        (
            "config.json",
            None,
            r"no config\.json; `uv run fusion-core weights fetch tiny` fetches .* https://huggingface\.co/facebook/",
        ),
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


WORDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029, "red": 200, "square": 201}


def save_tokenizer(folder, words):
    """A BERT tokenizer of few words, as the published folders hold one."""
    names = {number: word for word, number in words.items()}
    lines = [names.get(number, f"[unused{number}]") for number in range(1200)]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture
def both(published, tmp_path):
    """Both networks' folders, below one."""
    (tmp_path / "segmenter").mkdir()
    for file in published.iterdir():
        (tmp_path / "segmenter" / file.name).write_bytes(file.read_bytes())
    GROUNDING_DINO_CHECKPOINTS.load("tiny", None, seed=0).save_pretrained(tmp_path / "detector")
    save_tokenizer(tmp_path / "detector", WORDS)
    return tmp_path


def test_two_networks_and_a_tokenizer_from_one_folder(both):
    predictor = GroundedSAM2Predictor.load(both, config="tiny", device="cpu")
    drawn = GROUNDING_DINO_CHECKPOINTS.load("tiny", None, seed=0).state_dict()
    loaded = predictor.detector.network.state_dict()
    assert loaded.keys() == drawn.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in drawn.items())
    (ids,) = predictor.detector.tokens(["Red square"])
    assert ids.tolist() == [101, 200, 201, 1012, 102]


def test_what_the_library_stored_once_and_computes_today_may_be_there(both):
    """The published files of Grounding DINO hold it, as their sizes tell."""
    name = "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self.relative_position_index"
    stored = load_file(both / "detector" / "model.safetensors")
    assert name.replace("index", "bias_table") in stored  # the names of files are older than those of networks
    change(both / "detector", lambda state: state.update({name: torch.zeros(16, 16, dtype=torch.int64)}))
    GROUNDING_DINO_CHECKPOINTS.load("tiny", both / "detector", None)


def test_a_missing_network_or_tokenizer_is_named(both):
    with pytest.raises(CheckpointError, match="not 'grounding-dino'; expected that of tiny"):
        GROUNDING_DINO_CHECKPOINTS.load("tiny", both / "segmenter", None)
    for file in ("tokenizer.json", "vocab.txt"):
        (both / "detector" / file).unlink()
    with pytest.raises(CheckpointError, match=r"expected tokenizer\.json or vocab\.txt, found neither"):
        GroundedSAM2Predictor.load(both, config="tiny", device="cpu")
    (both / "detector" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"found no config\.json; .* https://huggingface\.co/IDEA-Research"):
        GroundedSAM2Predictor.load(both, config="tiny", device="cpu")


def test_another_tokenizer_is_refused(both):
    save_tokenizer(both / "detector", {**WORDS, ".": 300})
    with pytest.raises(CheckpointError, match=r"not that of Grounding DINO: expected the ids \[101, 1012, 102\]"):
        load_tokenizer(both / "detector")
    (both / "detector" / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="its tokenizer cannot be read"):
        load_tokenizer(both / "detector")
