"""Hatchling build hook: repacks detectron2 from a pinned public distribution.

detectron2 publishes source only. `sal-detectron2` on the package index is detectron2's main branch of 2024-04-17 as
a wheel whose file name says "Python 3.10 only", although its Python code runs on any later version and its one
compiled module loads with no public torch and is optional. This hook fetches that wheel by name, version and
SHA-256, leaves out files that are unusable or not detectron2's, and passes the rest to hatchling, which writes a
`py3-none-any` wheel with the metadata of `pyproject.toml`.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "sal-detectron2==0.7.2"
SOURCE_PYTHON = "3.10"  # the tag in the file name; no kept file depends on it
SOURCE_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
LOCAL_WHEEL = "DETECTRON2_SOURCE_WHEEL"  # environment variable: a wheel fetched beforehand, for offline builds


class SourceWheelError(RuntimeError):
    """The pinned wheel cannot be fetched, or the file is another one."""


class Repack(BuildHookInterface):
    """Adds the kept files of the pinned wheel to the wheel being built (an editable build holds the same files)."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch, check and unpack; called by hatchling before it writes the wheel."""
        self._folder = tempfile.TemporaryDirectory(prefix="detectron2-")
        folder = Path(self._folder.name)
        wheel = source_wheel(folder)
        check(wheel)
        package, licence = unpack(wheel, folder / "files")
        include = "force_include_editable" if version == "editable" else "force_include"
        build_data[include][str(package)] = "detectron2"
        build_data["extra_metadata"][str(licence)] = "LICENSE"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the unpacked files; called by hatchling after it wrote the wheel."""
        self._folder.cleanup()


def source_wheel(folder: Path) -> Path:
    """The wheel named by the environment variable, else the one that pip finds with its own index settings."""
    if local := os.environ.get(LOCAL_WHEEL):
        if not Path(local).is_file():
            raise SourceWheelError(f"{LOCAL_WHEEL}={local} is not a file; {_how_to_get_it()}")
        return Path(local)
    command = [sys.executable, "-m", "pip", "download", SOURCE, "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", SOURCE_PYTHON, "--dest", str(folder), "--disable-pip-version-check"]
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise SourceWheelError(f"pip could not fetch {SOURCE}; {_how_to_get_it()}\npip reported:\n{pip.stderr.strip()}")
    return wheels[0]


def check(wheel: Path) -> None:
    """Raise SourceWheelError unless the file is the pinned wheel."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise SourceWheelError(
            f"{wheel.name} has SHA-256 {found}, expected {SOURCE_SHA256} ({SOURCE}); {_how_to_get_it()}"
        )


def unpack(wheel: Path, folder: Path) -> tuple[Path, Path]:
    """Unpack the package, without its compiled module and the stray `tools/`, and the licence.

    Returns:
        The package folder and the licence file.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        code = [n for n in names if n.startswith("detectron2/") and not n.startswith("detectron2/_C.")]
        (licence,) = (n for n in names if n.endswith(".dist-info/LICENSE"))
        archive.extractall(folder, [*code, licence])
    return folder / "detectron2", folder / licence


def _how_to_get_it() -> str:
    return (
        f"building detectron2 needs the wheel of {SOURCE} (SHA-256 {SOURCE_SHA256}). With a connection to a package "
        f"index, check pip's index settings (`pip config list`, PIP_INDEX_URL). Without one, fetch it elsewhere with "
        f"`pip download {SOURCE} --no-deps --only-binary=:all: --python-version {SOURCE_PYTHON}`, copy it here and "
        f"set {LOCAL_WHEEL} to its path"
    )
