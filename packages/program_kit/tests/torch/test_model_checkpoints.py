"""The checkpoints of a model: strict loading, conversion, and messages that say which file or program fits."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints, Unallocated
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import Drop, Rename, Rule
from safetensors.torch import save_file
from torch import nn


class Network(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.body = nn.Linear(size, size)
        self.register_buffer("steps", torch.arange(size), persistent=False)


def table(size: int) -> list[Rule]:
    return [Rename("fc.{*}", "body.{*}"), Drop("head.{*}", reason="for training")]


CHECKPOINTS = ModelCheckpoints(
    model="small",
    configs={"two": 2, "three": 3},
    build=Network,
    table=table,
    others={"rnn.{i}.{*}": "other-infer"},
)


@pytest.fixture
def published(tmp_path) -> Path:
    state = {"fc.weight": torch.rand(3, 3), "fc.bias": torch.rand(3), "head.bias": torch.rand(9)}
    torch.save({"model": state}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_a_published_file_fills_the_network(published):
    network = CHECKPOINTS.load(published, "three")
    assert torch.equal(network.body.weight, read_checkpoint(published).state["fc.weight"])
    assert network.body.weight.requires_grad


def test_a_published_file_may_say_anything_of_itself(published, tmp_path):
    metadata = {"format": "pt", "model": "another", "config": "large"}
    save_file(read_checkpoint(published).state, tmp_path / "net.safetensors", metadata)
    network = CHECKPOINTS.load(tmp_path / "net.safetensors", "three")
    assert torch.equal(network.body.weight, CHECKPOINTS.load(published, "three").body.weight)


def test_mutated_files_of_every_kind_end_with_weights_or_one_error():
    """The short form of tools/attacks/checkpoints.py."""
    script = Path(__file__).parents[4] / "tools" / "attacks" / "checkpoints.py"
    command = [sys.executable, script, "--number", "700", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried 700: read " in done.stdout


def test_loading_neither_draws_random_numbers_nor_copies(published):
    before = torch.get_rng_state()
    network = CHECKPOINTS.load(published, "three")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(network.steps, torch.arange(3))  # a buffer that no file holds


def test_a_network_without_memory_takes_over_the_tensors(published):
    checkpoint = read_checkpoint(published)
    with Unallocated():
        network = Network(3)
    assert network.body.weight.is_meta
    CHECKPOINTS.fill(network, checkpoint, "three")
    assert network.body.weight.data_ptr() == checkpoint.state["fc.weight"].data_ptr()


def test_conversion_keeps_the_weights_and_says_where_they_came_from(published, tmp_path):
    target = tmp_path / "net.safetensors"
    CHECKPOINTS.convert(published, target, "three")
    first, second = (CHECKPOINTS.load(path, "three").state_dict() for path in (published, target))
    assert all(torch.equal(first[name], second[name]) for name in first)
    origin = read_checkpoint(target).origin
    assert origin is not None
    assert origin.source_sha256 == hashlib.sha256(published.read_bytes()).hexdigest()


def test_nothing_is_written_where_the_source_or_the_target_is_wrong(published, tmp_path):
    with pytest.raises(CheckpointError, match=r"weights are written as \*\.safetensors"):
        CHECKPOINTS.convert(published, tmp_path / "net.bin", "three")
    with pytest.raises(CheckpointError, match="does not fit"):
        CHECKPOINTS.convert(published, tmp_path / "net.safetensors", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_trained_weights_are_saved_and_loaded(tmp_path):
    network = CHECKPOINTS.random("two", seed=3)
    CHECKPOINTS.save(tmp_path / "best.safetensors", network, "two")
    again = CHECKPOINTS.load(tmp_path / "best.safetensors", "two")
    assert torch.equal(network.body.weight, again.body.weight)


def test_a_saved_file_must_still_be_whole(tmp_path):
    network = CHECKPOINTS.random("two", seed=3)
    network.body.bias = None
    CHECKPOINTS.save(tmp_path / "best.safetensors", network, "two")
    with pytest.raises(CheckpointError, match=r"missing \(1\):\s+body\.bias"):
        CHECKPOINTS.load(tmp_path / "best.safetensors", "two")


def test_the_configuration_that_fits_is_named(published):
    with pytest.raises(CheckpointError) as caught:
        CHECKPOINTS.load(published, "two")
    message = str(caught.value)
    assert "fc.weight: expected shape [2, 2], found [3, 3]" in message
    assert message.endswith("\n  its names and shapes fit config three")


def test_the_program_of_another_models_file_is_named(tmp_path):
    torch.save({"rnn.0.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of small, .*rnn\.0\.weight; use other-infer"):
        CHECKPOINTS.load(tmp_path / "net.pth", "two")


def test_a_saved_file_of_another_model_or_configuration_is_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    CHECKPOINTS.save(path, CHECKPOINTS.random("two", seed=0), "two")
    with pytest.raises(CheckpointError, match=r"for configuration 'two', not for 'three'; give config two"):
        CHECKPOINTS.load(path, "three")
    other = ModelCheckpoints(model="large", configs=CHECKPOINTS.configs, build=Network, table=table)
    with pytest.raises(CheckpointError, match="is a checkpoint of small, expected one of large"):
        other.load(path, "two")


def test_random_weights_are_reproducible_and_leave_the_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (CHECKPOINTS.random("two", seed).body.weight for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_configuration_of_ones_own(tmp_path):
    own = CHECKPOINTS.with_config("five", 5)
    assert own.random("five", 0).body.weight.shape == (5, 5)
    assert "five" not in CHECKPOINTS.configs
