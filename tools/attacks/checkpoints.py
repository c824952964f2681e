"""Mutated checkpoints of every kind: zip and legacy files of `torch.save`, bare pickles, safetensors.

    uv run --package program-kit --extra torch tools/attacks/checkpoints.py --number 20000

Each is loaded into a small network by `ModelCheckpoints`, as every program does. Archives and headers are made whole
again after most mutations, so that what lies inside is reached. Prints counts; the exit code is 1 if a load ends
otherwise than with weights or a CheckpointError, or takes over 500 MB or 5 seconds.
"""

import argparse
import collections
import io
import json
import pickle
import random
import sys
import warnings
import zipfile
from pathlib import Path

import torch
from fuzzing import VALUES, Attack, changed
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints
from program_kit.torch.checkpoint.table import Alias, Constant, Drop, Rename
from program_kit.torch.checkpoint.writing import write_checkpoint
from safetensors.torch import save_file
from torch import nn

WORDS = (
    *("F64", "F32", "F16", "BF16", "F8_E4M3", "F4", "C64", "I64", "U64", "BOOL", "FloatStorage", "DoubleStorage"),
    *("torch", "collections", "builtins", "meta", "cuda:0", "cpu", "model", "rvos-fusion 1", "rvos-fusion 9", "small"),
    *("module.", "fc.weight", "OrderedDict", "_rebuild_tensor_v2", "_rebuild_sparse_tensor", "_rebuild_qtensor"),
)


class Network(nn.Module):
    """Every rule of the table language has something to do."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.body = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)
        self.register_buffer("steps", torch.arange(float(size)), persistent=False)


CHECKPOINTS = ModelCheckpoints(
    model="small",
    configs={"three": 3, "eight": 8, "thousand": 1000},
    build=Network,
    table=lambda size: [
        Rename("fc.{*}", "body.{*}"),
        Alias("again.{*}", of="fc.{*}"),
        Rename("norm.gamma.weight", "norm.weight", reshape=True),
        Rename("norm.bias", "norm.bias"),
        Constant("steps", "steps"),
        Drop("head.{*}", reason="for training"),
    ],
    others={"rnn.{i}.{*}": "other-infer"},
)


def originals(folder: Path) -> list[Path]:
    """Whole files of every kind."""
    network = CHECKPOINTS.random("eight", 0)
    published = {
        "fc.weight": network.body.weight.detach(),
        "fc.bias": network.body.bias.detach().half(),
        "again.bias": network.body.bias.detach().half(),
        "norm.gamma.weight": network.norm.weight.detach()[None],
        "norm.bias": network.norm.bias.detach().double(),
        "steps": torch.arange(8.0),
        "head.bias": torch.zeros(3, dtype=torch.int64),
    }
    beside = {"epoch": 3, "args": argparse.Namespace(lr=1e-4), "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save({"model": published, **beside}, folder / "zip.pth")
    torch.save(collections.OrderedDict(published), folder / "bare.tar")
    torch.save({"state_dict": published, **beside}, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "bare.pkl").write_bytes(pickle.dumps({"model": {"fc.bias": [1.0, 2.0]}, **beside}, protocol=4))
    (folder / "old.pkl").write_bytes(pickle.dumps({"fc.bias": [1.0, "text", 2**70]}, protocol=2))
    save_file(published, folder / "published.safetensors", {"format": "pt", "model": "foreign"})
    write_checkpoint(folder / "own.safetensors", network.state_dict(), Origin(model="small", config="eight"))
    for number, odd in enumerate(odd_tensors()):
        for kind in ("zip", "legacy"):
            path = folder / f"odd-{number}-{kind}.pth"
            torch.save({**published, "fc.bias": odd}, path, _use_new_zipfile_serialization=kind == "zip")
    save_file({**published, "fc.bias": torch.zeros(8).to(torch.float8_e4m3fn)}, folder / "odd.safetensors")
    return sorted(folder.iterdir())


def odd_tensors() -> list[torch.Tensor]:
    """What torch can save and no network has as weights."""
    warnings.simplefilter("ignore")
    return [
        torch.zeros(1).expand(10**12),
        torch.zeros(8).to_sparse(),
        torch.zeros(8, dtype=torch.complex64),
        torch.zeros(8).to(torch.float8_e4m3fn),
        torch.quantize_per_tensor(torch.zeros(8), 0.1, 0, torch.quint8),
    ]


def mutated(path: Path, chance: random.Random) -> bytes:
    """The content of a file with a few changes."""
    data = path.read_bytes()
    if chance.random() < 0.2:
        return changed(data, chance)
    if path.suffix == ".safetensors":
        return changed_header(data, chance)
    if data[:2] == b"PK":
        return changed_archive(data, chance)
    return changed_pickle(data, chance)


def changed_pickle(data: bytes, chance: random.Random) -> bytes:
    """A pickle with a word or a number replaced by another, or with changed bytes."""
    if chance.random() < 0.3:
        return changed(data, chance)
    words = [word.encode() for word in WORDS if word.encode() in data]
    if words and chance.random() < 0.5:
        return data.replace(chance.choice(words), chance.choice(WORDS).encode(), chance.choice((1, -1)))
    codes = b"K M J \x8a\x08 ] } ) ( t . s u R b a e h q r Q \x85 \x86 \x87 \x88 N".split()
    at, value = chance.randrange(len(data)), chance.choice(VALUES)
    put = chance.choice(
        (chance.choice(codes), b"J" + (value % 2**32).to_bytes(4, "little"), pickle.dumps(value, 2)[2:-1])
    )
    return data[:at] + put + data[at + chance.choice((0, 1, 2, 5)) :]


def changed_archive(data: bytes, chance: random.Random) -> bytes:
    """A zip archive with changed entries and right checksums."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    number = next(i for i, (name, _) in enumerate(entries) if name.endswith("data.pkl"))
    kind = chance.random()
    if kind < 0.7:
        entries[number] = (entries[number][0], changed_pickle(entries[number][1], chance))
    elif kind < 0.8:
        other = chance.randrange(len(entries))
        entries[other] = (entries[other][0], changed(entries[other][1], chance))
    elif kind < 0.9:
        del entries[chance.randrange(len(entries))]
    else:
        other = chance.randrange(len(entries))
        name = entries[other][0]
        entries[other] = (
            chance.choice((name + "x", name.split("/")[-1], "../" + name, "9" * 60000)),
            entries[other][1],
        )
    out = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if chance.random() < 0.05 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def changed_header(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file with a changed header of the right length."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = data[8 : 8 + length], data[8 + length :]
    if chance.random() < 0.3:
        header = changed(header, chance)
    else:
        tree = json.loads(header)
        for _ in range(chance.choice((1, 1, 2, 3))):
            change_tree(tree, chance)
        header = json.dumps(tree).encode()
    size = len(header) if chance.random() < 0.95 else chance.choice(VALUES) % 2**64
    return size.to_bytes(8, "little") + header + tensors


def change_tree(tree: dict, chance: random.Random) -> None:
    """Replace, remove or rename one entry somewhere in a JSON object."""
    while True:
        name = chance.choice([*tree]) if tree else ""
        if isinstance(tree.get(name), dict) and chance.random() < 0.8:
            tree = tree[name]
            continue
        break
    match chance.randrange(4):
        case 0:
            tree.pop(name, None)
        case 1:
            tree[chance.choice(WORDS)] = tree.pop(name, "")
        case 2 if isinstance(tree.get(name), list) and tree[name]:
            tree[name][chance.randrange(len(tree[name]))] = chance.choice(VALUES)
        case _:
            tree[name] = chance.choice((*WORDS, *VALUES, None, [], {}, [8, 1], [1] * 70, 0.5, "x" * 100_000))


ATTACK = Attack(
    originals=originals,
    mutated=mutated,
    read=lambda path: CHECKPOINTS.load(path, "eight"),
    refusals=(CheckpointError,),
)


def main() -> int:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--number", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    return ATTACK.report("checkpoints", chosen.number, chosen.seed)


if __name__ == "__main__":
    sys.exit(main())
