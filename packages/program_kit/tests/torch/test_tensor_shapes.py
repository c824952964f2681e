"""Names of tensors that are read without torch, in files that torch writes."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from program_kit.errors import CheckpointError
from program_kit.tensor_shapes import tensor_shapes
from safetensors.torch import save_file

STATE = {"a.weight": torch.zeros(2, 3), "b": torch.zeros(()), "c": torch.nn.Parameter(torch.zeros(4))}
SHAPES = {"a.weight": (2, 3), "b": (), "c": (4,)}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"model_state_dict": STATE, "epoch": 3, "best": torch.float32},
        {"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}, "optimizer": {"x": [1]}},
    ],
)
def test_names_of_pickles(tmp_path, content, zipped):
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert tensor_shapes(path) == SHAPES


def test_names_of_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.data for name, tensor in STATE.items()}, path, {"model": "soc"})
    assert tensor_shapes(path) == SHAPES
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="not whole"):
        tensor_shapes(path)


class Attack:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_runs(tmp_path):
    path, ran = tmp_path / "weights.pth", tmp_path / "ran"
    torch.save({"model": STATE, "extra": Attack(ran)}, path)
    assert tensor_shapes(path) == SHAPES
    assert not ran.exists()


def in_zip(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged|is empty"),
        (b"<!DOCTYPE html><html>quota</html>", "is a web page"),
        (pickle.dumps([1, 2]), "damaged"),
        (pickle.dumps({"a": 1}), "damaged"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02" + b"(" * 10**5, "damaged"),
    ],
)
def test_files_without_tensors_are_errors_and_take_no_memory(tmp_path, content, words):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        tensor_shapes(path)
    in_zip(path, content)
    with pytest.raises(CheckpointError, match="damaged"):
        tensor_shapes(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file"):
        tensor_shapes(path)
