"""The wheels as they are published, in an environment outside the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.metadata import Metadata
from PIL import Image
from program_kit.distributions import published_name

from tests.members import MEMBERS, ROOT, own_name, settings

INSTALLED = ("rvos-fusion-core", "rvos-soc")


def call(*command: object, cwd: Path = ROOT) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV"}}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    call(sys.executable, ROOT / "tools" / "published_wheels.py", folder)
    return folder


@pytest.fixture(scope="module")
def requirements(wheels):
    """Options of `uv pip` that find our wheels in a folder and take others in the versions of the lock file."""
    locked = wheels / "locked.txt"
    export = ["export", "--locked", "--all-packages", "--all-extras", "--no-default-groups", "--no-emit-workspace"]
    call("uv", *export, "--no-hashes", "--quiet", "--output-file", locked)
    return ["--find-links", wheels, "--constraint", locked]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory, requirements):
    """The folder of the commands of an environment with two of the wheels and what they need."""
    environment = tmp_path_factory.mktemp("elsewhere") / "venv"
    call("uv", "venv", "--quiet", environment)
    python = environment / "bin" / "python"
    call("uv", "pip", "install", "--quiet", "--python", python, *requirements, *INSTALLED)
    return python.parent


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_wheel_says_what_it_is(wheels, member):
    name = published_name(own_name(member))
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(path), validate=True)
        licences = {Path(one).name for one in archive.namelist() if "/licenses/" in one}
    assert metadata.name == name
    assert metadata.author == "rvos-fusion contributors"
    assert metadata.license_expression == "Apache-2.0"
    assert licences >= set(metadata.license_files or ()) == {"LICENSE", "NOTICE"}
    assert metadata.classifiers
    own = {own_name(one) for one in MEMBERS} - {published_name(own_name(one)) for one in MEMBERS}
    assert not own & {one.name for one in metadata.requires_dist or ()}


def test_all_wheels_fit_together(requirements, scripts):
    """uv finds what each of them needs; nothing is installed."""
    python, names = scripts / "python", [published_name(own_name(member)) for member in MEMBERS]
    call("uv", "pip", "install", "--dry-run", "--quiet", "--python", python, *requirements, *names)


def test_commands_run_outside_the_checkout(scripts, tmp_path):
    assert "Usage:" in call(scripts / "fusion-core", "--help", cwd=tmp_path)
    assert call(scripts / "fusion-core", "--version", cwd=tmp_path).startswith("fusion-core 0.")
    (tmp_path / "clip").mkdir()
    for t in range(2):
        pixels = np.random.default_rng(t).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "clip" / f"{t}.png")
    options = ["--video", "clip", "-e", "a red square", "--out", "run", "--device", "cpu"]
    call(scripts / "soc-infer", *options, cwd=tmp_path)
    assert "1 videos, 1 expressions, 2 masks" in call(scripts / "fusion-core", "show", "run", cwd=tmp_path)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["producer_version"] == settings(ROOT / "packages" / "soc")["project"]["version"]
