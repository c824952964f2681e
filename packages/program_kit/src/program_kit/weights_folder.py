"""The user's folder of weights: where it is, what it holds, and the hashes of files. Nothing here uses the network.

<folder>/soc/joint_base.tar               weights of the table, under their name
<folder>/soc/.weights.json                their record: files with sizes and hashes; written last
<folder>/hub/OWNER--NAME@COMMIT/          any other commit of a repository on the hub
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from mask_interchange.files import file_sha256, write_whole

from program_kit.weights_table import HubSource

VARIABLE = "RVOS_WEIGHTS"
RECORD = ".weights.json"


def weights_folder() -> Path:
    """The folder that the variable `RVOS_WEIGHTS` names, or the one where the system keeps a user's data."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else _user_data() / "rvos-fusion" / "weights"


def _user_data() -> Path:
    """Where the system keeps a user's data; on Linux as the XDG base directories say."""
    if sys.platform == "win32":
        return Path(os.environ["LOCALAPPDATA"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What was recorded of a file: its size in bytes, and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRecord:
    """What is recorded of weights in the folder.

    Attributes:
        source: where they are from: an address, `hub:OWNER/NAME@COMMIT`, or the path of a file that was added.
        files: by name.
        loads: the file that programs read; None if they read the folder.
    """

    source: str
    files: Mapping[str, StoredFile]
    loads: str | None = None

    def write(self, folder: Path) -> None:
        """Write the record, in one step. From then on programs find the weights."""
        write_whole(folder / RECORD, (json.dumps(asdict(self), indent=1) + "\n").encode())


def folder_of(name: str) -> Path:
    """Where weights belong.

    Args:
        name: in the table, or `hub:OWNER/NAME@COMMIT`.

    Raises:
        WeightsError: a source on the hub of another form.
    """
    if name.startswith("hub:"):
        return weights_folder() / "hub" / HubSource.parse(name).folder
    return weights_folder() / name


def read_record(folder: Path) -> WeightsRecord | None:
    """The record of a folder; None if there is none that can be read."""
    try:
        tree: Any = json.loads((folder / RECORD).read_bytes())
        files = {name: StoredFile(**file) for name, file in tree["files"].items()}
        return WeightsRecord(source=str(tree["source"]), files=files, loads=tree["loads"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def stored(name: str) -> Path | None:
    """The file or folder of weights that are there; None if they are not, or not whole.

    Weights on the hub are looked for in this folder first, then in the cache of the Hugging Face hub.

    Args:
        name: in the table, or `hub:OWNER/NAME@COMMIT`.
    """
    folder = folder_of(name)
    record = read_record(folder)
    if record is None:
        return _in_hub_cache(HubSource.parse(name)) if name.startswith("hub:") else None
    for file, known in record.files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != known.size:
            return None
    return folder / record.loads if record.loads else folder


def hub_cache() -> Path:
    """The folder in which huggingface_hub keeps its files, by its own environment variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder)
    home = os.environ.get("HF_HOME")
    cache_home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return (Path(home) if home else Path(cache_home).expanduser() / "huggingface") / "hub"


def _in_hub_cache(source: HubSource) -> Path | None:
    folder = hub_cache() / f"models--{source.repository.replace('/', '--')}" / "snapshots" / source.commit
    return folder if folder.is_dir() and any(folder.glob("*.safetensors")) else None


def weights_files(path: Path) -> dict[str, Path]:
    """The files that weights consist of, by their paths in the folder, sorted; hidden ones are left out.

    Args:
        path: a file or a folder.
    """
    if not path.is_dir():
        return {path.name: path}
    found = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    named = {inner.as_posix(): file for inner, file in found.items() if not any(part[0] == "." for part in inner.parts)}
    return dict(sorted(named.items()))


def cached_sha256(path: Path) -> str:
    """SHA-256 of a file; read once while its size and time stay the same."""
    found = path.stat()
    return _sha256(path, found.st_size, found.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, time: int) -> str:
    return file_sha256(path)


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash for weights: that of the only file, or of the list that `sha256sum` prints of several, sorted by name.

    Args:
        hashes: SHA-256 of each file by its name.
    """
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()
