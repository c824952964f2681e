"""What a user installs: from the lock file with the newest Python, and from wheels alone."""

import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.lock import Lock
from tests.members import MEMBERS, ROOT, own_name

REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
NEWEST = max(minor for minor in range(30) if f"3.{minor}" in SpecifierSet(REQUIRED))
SOURCE_ONLY = ("antlr4-python3-runtime", "fvcore", "iopath")  # Python sources, see tests/isolation/test_wheels.py
BUILT = [member for member in MEMBERS if (member / "src").is_dir()]  # detectron2 has no files of its own


def uv(*arguments: object, cwd: Path = ROOT) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    result = subprocess.run(["uv", *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for member in BUILT:
        uv("build", "--wheel", "--quiet", "--out-dir", folder, member)
    return folder


def test_the_lock_can_be_installed_with_the_newest_python(tmp_path):
    """Nothing is downloaded but names and hashes; the Python itself need not be there."""
    locked = tmp_path / "locked.txt"
    leave = [f"--no-emit-package={name}" for name in SOURCE_ONLY]
    export = ["export", "--locked", "--all-packages", "--all-extras", "--all-groups", "--no-emit-workspace", "--quiet"]
    uv(*export, *leave, "--output-file", locked)
    where = [
        "--python-version",
        f"3.{NEWEST}",
        "--python-platform",
        "x86_64-manylinux_2_28",
        "--target",
        tmp_path / "new",
    ]
    uv("pip", "install", "--dry-run", "--require-hashes", "--only-binary=:all:", "--no-deps", *where, "-r", locked)


@pytest.mark.parametrize("member", BUILT, ids=lambda member: member.name)
def test_a_wheel_holds_every_file_of_its_package(wheels, member):
    (wheel,) = wheels.glob(f"{own_name(member).replace('-', '_')}-*.whl")
    listed = subprocess.run(
        ["git", "ls-files", "src"], cwd=member, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    with zipfile.ZipFile(wheel) as archive:
        missing = {name.removeprefix("src/") for name in listed if name} - set(archive.namelist())
    assert not missing


def test_fusion_core_runs_from_its_wheels(wheels, tmp_path):
    locked = tmp_path / "locked.txt"
    uv("export", "--locked", "--package", "fusion-core", "--no-emit-workspace", "--quiet", "--output-file", locked)
    uv("venv", "--quiet", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, "-r", locked)
    environment = Lock(ROOT / "uv.lock").environment("fusion-core")
    names = [name.replace("-", "_") for name, entry in environment.items() if "registry" not in entry["source"]]
    ours = [next(wheels.glob(f"{name}-*.whl")) for name in names]
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", *ours)
    for command in ("fusion-core recipe iccv2023", "rvos-synthetic --split test --videos 1 --out drawn"):
        program, *arguments = command.split()
        result = subprocess.run([python.with_name(program), *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
