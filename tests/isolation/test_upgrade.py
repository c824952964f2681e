"""One model moves to other versions of a shared library and no other package moves (ADR 1, CONTRIBUTING.md).

uv locks a copy of the workspace's project files: SOC with another transformers, AOT and DeAOT with another torch,
UNINEXT with what it has. The others are older here, as there may be nothing newer; uv treats both alike.
"""

import shutil
import subprocess
import tomllib
from itertools import product

import pytest

from tests.lock import ROOT, Lock

UNREACHABLE = ("error sending request", "network was disabled")
APART = ("soc", "aot-deaot", "uninext")
MOVED = {"soc": "transformers", "aot-deaot": "torch"}
PYTHONS = ("3.11", "3.14")  # first and last of the lock


def versions(lock, member, python):
    return {name: entry.get("version") for name, entry in lock.whole_environment(member, python).items()}


def copy_project_files(folder):
    """Copy what `uv lock` reads; returns the project files by package."""
    members = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    projects = [path for pattern in (".", *members) for path in ROOT.glob(f"{pattern}/pyproject.toml")]
    for path in (ROOT / "uv.lock", ROOT / ".python-version", *projects):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    copies = [folder / path.relative_to(ROOT) for path in projects]
    return {tomllib.loads(path.read_text())["project"]["name"]: path for path in copies}


def insert(path, before, text):
    content = path.read_text()
    assert before in content
    path.write_text(content.replace(before, before + text, 1))


def faces_of(name):
    """A package as `conflicts` names it, without its extra and with it."""
    return f'{{ package = "{name}" }}', f'{{ package = "{name}", extra = "train" }}'


@pytest.fixture(scope="module")
def locks(tmp_path_factory):
    """The lock file before and after, and the folder of the copy."""
    before, folder = Lock(ROOT / "uv.lock"), tmp_path_factory.mktemp("workspace")
    projects = copy_project_files(folder)
    for member, library in MOVED.items():
        insert(projects[member], "\ndependencies = [", f'"{library}<{versions(before, member, "3.11")[library]}", ')
    kept = versions(before, "uninext", "3.11")
    for library in MOVED.values():
        insert(projects["uninext"], "\ndependencies = [", f'"{library}>={kept[library]}", ')
    root = projects["rvos-fusion"]
    if "conflicts = [" not in root.read_text():
        insert(root, "\n[tool.uv]\n", "conflicts = []\n")
    conflicts = [f"[{', '.join(faces)}], " for faces in product(*(faces_of(name) for name in APART))]
    insert(root, "conflicts = [", "".join(conflicts))  # those without extras first: uv prefers what it found before
    result = subprocess.run(["uv", "lock"], cwd=folder, capture_output=True, text=True, timeout=600)
    if any(words in result.stderr for words in UNREACHABLE):
        pytest.skip(f"uv cannot reach the package registry: {result.stderr}")
    assert result.returncode == 0, result.stderr
    return before, Lock(folder / "uv.lock"), folder


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("member", MOVED)
def test_a_model_moves_alone(locks, member, python):
    before, after, _ = locks
    library = MOVED[member]
    old, new = versions(before, member, python), versions(after, member, python)
    assert new[library] != old[library]
    assert new[library] != versions(after, "uninext", python)[library]
    assert set(before.members) & set(new) == set(before.members) & set(old)  # no shared package was left out


@pytest.mark.parametrize("python", PYTHONS)
def test_every_other_package_keeps_its_versions(locks, python):
    before, after, _ = locks
    others = [member for member in before.members if member not in MOVED]
    assert {"rvos-layers", "mutr", "uninext", "rvos-fusion"} <= set(others)
    for member in others:
        assert versions(after, member, python) == versions(before, member, python), member


@pytest.mark.parametrize("extras", [(), ("train",)])
@pytest.mark.parametrize("member", ["soc", "aot-deaot", "uninext", "mutr"])
def test_uv_reads_the_lock_likewise(locks, member, extras):
    _, lock, folder = locks
    command = ["uv", "export", "--quiet", "--frozen", "--no-hashes", "--no-default-groups", "--package", member]
    command += [f"--extra={extra}" for extra in extras]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = lock.environment(member, extras=extras)
    assert ("accelerate" in found) == bool(extras)
    for library in ("accelerate", *MOVED.values()):
        expected = {f"{library}=={found[library]['version']}"} if library in found else set()
        assert {line.split()[0] for line in result.stdout.splitlines() if line.startswith(f"{library}==")} == expected
