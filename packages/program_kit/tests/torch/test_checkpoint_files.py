"""Checkpoint files: read safely, written whole."""

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from program_kit.app import user_errors
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import read_checkpoint, tensors_sha256
from program_kit.torch.checkpoint.writing import write_checkpoint
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from typer import Exit

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([0.5]).half()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("wrapper", ["model_state_dict", "model", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_as_training_leaves_it(tmp_path, wrapper, prefix):
    """Wrapped, with `module.` before every name, the optimizer and other harmless values beside."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()
    beside = {
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": torch.optim.lr_scheduler.MultiStepLR(optimizer, [20]).state_dict(),
        "epoch": 29,
        "best_loss": np.float64(0.5),
        "args": argparse.Namespace(lr=1e-4),
    }
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    torch.save({wrapper: state, **beside} if wrapper else state, tmp_path / "net.pth")
    checkpoint = read_checkpoint(tmp_path / "net.pth")
    assert same(checkpoint.state, STATE)
    assert checkpoint.origin is None


def test_the_file_format_before_zip(tmp_path):
    torch.save({"model": STATE}, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "net.pth").state, STATE)


def test_a_prefix_of_some_names_stays(tmp_path):
    save_file({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "net.safetensors")
    assert read_checkpoint(tmp_path / "net.safetensors").state.keys() == {"module.a", "b"}


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("went-off"),))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    content = {"model": {"a": torch.zeros(1)}, "extra": Bomb()}
    torch.save(content, "bomb.tar", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"bomb\.tar: refused.*asks for \w+.*could run code"):
        read_checkpoint(Path("bomb.tar"))
    assert not Path("went-off").exists()


def test_a_bare_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"refused.*could run code"):
        read_checkpoint(Path("bomb.pkl"))
    assert not Path("went-off").exists()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 553433881\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.tar", None, "no such checkpoint"),
        ("cut.tar", b"PK\x03\x04 and nothing more", "damaged"),
        ("empty.tar", b"", "is empty; download the file again"),
        ("page.pth", b"<html>not found</html>", "is a web page, not a checkpoint: .*download the file again"),
        ("page.safetensors", b"\xef\xbb\xbf\n <!DOCTYPE html>\n<title>Sign in</title>", "is a web page"),
        ("page.pkl", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        ("pointer.pth", POINTER, "is a Git-LFS pointer.*git lfs pull"),
        ("pointer.safetensors", POINTER, "is a Git-LFS pointer.*git lfs pull"),
        ("text.pth", b"not a checkpoint", "damaged"),
        ("noise.safetensors", b"\xff" * 100, "not a readable safetensors file"),
        ("short.safetensors", b"\x08" * 20, "not a readable safetensors file"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: {message}"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_file(tmp_path, name, kept):
    path, state = tmp_path / name, {"a": torch.rand(1000)}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save({"model": state}, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(CheckpointError, match=rf"{name}: (damaged|not a readable safetensors file)"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["net.pth", "own.safetensors"])
def test_lost_bytes_are_noticed(tmp_path, name):
    """Zeros are numbers like others; only a checksum tells that they were others before."""
    path, state = tmp_path / name, {"a": torch.rand(2000) + 1}
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        write_checkpoint(path, state, Origin(model="soc", config="tiny"))
    content = bytearray(path.read_bytes())
    content[3000:4000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checksum.*fetch it again"):
        read_checkpoint(path)


def rewritten(path: Path, compression: int = zipfile.ZIP_STORED, times: int = 1) -> None:
    """Write a zip archive again, with entries of another kind, or with a directory that names each several times."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.filelist *= times


def test_archives_that_torch_does_not_write(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    rewritten(path)
    assert same(read_checkpoint(path).state, {"a": torch.zeros(1000)})
    rewritten(path, zipfile.ZIP_DEFLATED)  # torch would map the compressed bytes and take them for numbers
    with pytest.raises(CheckpointError, match="its entries are compressed"):
        read_checkpoint(path)
    rewritten(path, times=100)
    with pytest.raises(CheckpointError, match="its entries overlap"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3).to(torch.float8_e4m3fn),
        torch.zeros(3, device="meta"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_plain_numbers(tmp_path, tensor, legacy):
    torch.save({"a": tensor, "b": torch.zeros(1)}, tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"net\.pth: (holds no weights.*other entries: a$|refused|damaged)"):
        read_checkpoint(tmp_path / "net.pth")


def test_eight_bit_floats_in_safetensors(tmp_path):
    save_file({"a": torch.zeros(3).to(torch.float8_e4m3fn)}, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"holds no weights.*other entries: a$"):
        read_checkpoint(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({}, "an empty one"),
        ({"model": {}}, "an empty one"),
        ({"epoch": 3}, "epoch"),
        ({"model": {"a": torch.zeros(1), "step": 3}}, "step"),
        ({"model": {7: torch.zeros(1)}}, "7"),
        ([torch.zeros(2)], "list"),
        ({str(i): i for i in range(20)}, r"9, \.\.\."),
    ],
)
def test_files_without_weights(tmp_path, content, found):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=f"holds no weights; expected a dictionary of tensors.*found .*{found}$"):
        read_checkpoint(tmp_path / "other.pth")


def test_what_is_written_is_read_again_and_says_where_it_came_from(tmp_path):
    path = tmp_path / "new" / "net.safetensors"
    origin = Origin(model="soc", config="joint-base", source_sha256="ab")
    write_checkpoint(path, {**STATE, "c": torch.rand(3, 2).T}, origin)
    checkpoint = read_checkpoint(path)
    assert checkpoint.origin == origin
    assert same({name: checkpoint.state[name] for name in STATE}, STATE)
    assert checkpoint.state["b"].dtype == torch.float16
    with safe_open(path, framework="pt") as file:
        expected = {"format": "rvos-fusion 1", "model": "soc", "config": "joint-base", "source_sha256": "ab"}
        assert file.metadata() == {**expected, "tensors_sha256": tensors_sha256(path)}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_others_may_read_what_is_written(tmp_path):
    (tmp_path / "plain").touch()
    write_checkpoint(tmp_path / "net.safetensors", STATE, Origin(model="soc", config="tiny"))
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_equal_weights_become_equal_bytes(tmp_path):
    """The library writes metadata in an order that is another one in every process, or for every file."""
    origin = Origin(model="soc", config="größe", source_sha256='a"\\\n\x01')
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for file in files:
        write_checkpoint(file, STATE, origin)
    assert len({file.read_bytes() for file in files}) == 1
    with safe_open(files[0], framework="pt") as file:
        assert file.metadata() == {**origin.metadata, "tensors_sha256": tensors_sha256(files[0])}
    header = files[0].read_bytes()
    names = [header.index(f'"{name}"'.encode()) for name in sorted(origin.metadata)]
    assert names == sorted(names)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path, origin = tmp_path / "net.safetensors", Origin(model="soc", config="tiny")
    write_checkpoint(path, STATE, origin)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match=r"net\.safetensors: cannot be written \(.*No space left"):
        write_checkpoint(path, {"a": torch.ones(1)}, origin)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_ends_a_conversion_with_exit_code_1(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("program_kit.torch.checkpoint.writing.save_file", full)
    with pytest.raises(Exit) as end, user_errors("soc-infer"):
        write_checkpoint(tmp_path / "net.safetensors", STATE, Origin(model="soc", config="tiny"))
    assert end.value.exit_code == 1
    words = "the disk is full: " + str(tmp_path / "net.safetensors") + ": cannot be written (No space left on device)"
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_known_by_its_number(tmp_path):
    """The library tells it as text; the exit code of every program depends on it."""
    script = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from mask_interchange.files import is_disk_full; from program_kit.errors import CheckpointError\n"
        "from program_kit.origin import Origin\n"
        "from program_kit.torch.checkpoint.writing import write_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_checkpoint(Path(sys.argv[1]), {'a': torch.zeros(9999)}, Origin(model='soc', config='tiny'))\n"
        "except CheckpointError as error: print(is_disk_full(error), error)\n"
    )
    path = tmp_path / "net.safetensors"
    done = subprocess.run([sys.executable, "-B", "-c", script, path], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith(f"True {path}: cannot be written ("), done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_files_are_written_as_safetensors_only(tmp_path):
    with pytest.raises(CheckpointError, match=r"net\.pth: weights are written as \*\.safetensors"):
        write_checkpoint(tmp_path / "net.pth", STATE, Origin(model="soc", config="tiny"))


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        (None, None),
        ({"format": "pt"}, None),  # as transformers writes it
        ({"model": "resnet"}, None),  # what others say of their files is not about this project
        ({"model": "resnet", "config": "50"}, None),
        ({"format": "pt", "model": "soc", "config": "demo", "source_sha256": "ab"}, None),
        (
            {"model": "soc", "config": "demo", "source_sha256": "ab"},
            Origin(model="soc", config="demo", source_sha256="ab"),
        ),
        ({"format": "aot-deaot 1", "family": "deaot", "config": "demo"}, Origin(model="deaot", config="demo")),
        (
            {"format": "uninext", "config": "demo-vit", "source_sha256": "ab"},
            Origin(model="uninext", config="demo-vit", source_sha256="ab"),
        ),
    ],
)
def test_layouts_of_metadata_before_this_one(tmp_path, metadata, origin):
    save_file(STATE, tmp_path / "net.safetensors", metadata)
    assert read_checkpoint(tmp_path / "net.safetensors").origin == origin


def test_a_layout_of_the_future_is_refused(tmp_path):
    save_file(STATE, tmp_path / "net.safetensors", {"format": "rvos-fusion 2", "model": "soc", "config": "demo"})
    with pytest.raises(CheckpointError, match=r"expected format 'rvos-fusion 1', found 'rvos-fusion 2'; update"):
        read_checkpoint(tmp_path / "net.safetensors")
