"""Isolation, executed: each package is installed without its siblings' needs and every module of it is imported.

A sub-package that needs an extra has the extra's name. It is imported where the extra is installed too.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.members import MEMBERS, ROOT, extra_of, extras, module_files, own_name, settings

LIGHT = {"mask_interchange", "program_kit", "fusion_core", "rvos_evaluation", "rvos_synthetic"}  # work without torch
TRAINED = [
    member for member in MEMBERS if f"{own_name(member)}-train" in settings(member)["project"].get("scripts", {})
]

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(sys.argv[1] in sys.modules)
"""


def modules(member: Path, *, with_extras: bool) -> list[str]:
    """Names of a package's modules, those that only an extra can import on demand."""
    wanted = [name for name in module_files(member) if with_extras or extra_of(name, set(extras(member))) is None]
    return [name.removesuffix(".__init__") for name in wanted if not name.endswith("__main__")]


def run_alone(member: Path, options: list[str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where nothing but the package is installed."""
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    # One folder for all, made exact for each: what two packages share need not be compiled to byte code twice.
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venvs" / "alone")
    run = ["uv", "run", "--locked", "--exact", "--quiet", "--package", own_name(member), *options, *command]
    return subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_package_works_alone(member):
    if not (member / "src" / member.name / "__init__.py").exists():
        pytest.skip(f"{own_name(member)} only builds another distribution")
    result = run_alone(member, [], "python", "-c", IMPORT_ALL, "torch", *modules(member, with_extras=False))
    assert result.returncode == 0, result.stderr
    assert not (member.name in LIGHT and result.stdout.split() == ["True"]), f"{member.name} must not import torch"


@pytest.mark.parametrize("member", [member for member in MEMBERS if extras(member)], ids=lambda path: path.name)
def test_package_works_alone_with_its_extras(member):
    found = modules(member, with_extras=True)
    result = run_alone(member, ["--all-extras"], "python", "-c", IMPORT_ALL, "torch", *found)
    assert result.returncode == 0, result.stderr
    assert set(found) > set(modules(member, with_extras=False)), "no module stands where its extra says"


@pytest.mark.parametrize("member", TRAINED, ids=lambda path: path.name)
def test_a_training_command_without_its_extra_says_what_to_install(member):
    name = own_name(member)
    result = run_alone(member, [], f"{name}-train", "--help")
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert f"uv run --package {name} --extra train {name}-train" in line
    assert f"pip install '{name}[train]'" in line
