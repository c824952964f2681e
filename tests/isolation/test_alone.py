"""Isolation, executed: each package is installed without its siblings' needs and every module of it is imported.

A sub-package that needs an extra has the extra's name. It is imported where the extra is installed too.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.members import MEMBERS, ROOT, extra_of, extras, module_files, own_name, settings

LIGHT = {"mask_interchange", "program_kit", "fusion_core", "rvos_evaluation", "rvos_synthetic"}  # work without torch

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
    # One folder a process, made exact for each: what two packages share need not be compiled to byte code each time.
    folder = f"alone-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venvs" / folder)
    run = ["uv", "run", "--locked", "--exact", "--quiet", "--package", own_name(member), *options, *command]
    return subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_package_works_alone(member):
    """Plain first, then with its extras: uv has less to exchange than for one package after the other."""
    if not (member / "src" / member.name / "__init__.py").exists():
        pytest.skip(f"{own_name(member)} only builds another distribution")
    plain = modules(member, with_extras=False)
    result = run_alone(member, [], "python", "-c", IMPORT_ALL, "torch", *plain)
    assert result.returncode == 0, result.stderr
    assert not (member.name in LIGHT and result.stdout.split() == ["True"]), f"{member.name} must not import torch"
    if f"{own_name(member)}-train" in settings(member)["project"].get("scripts", {}):
        check_that_training_needs_its_extra(member)
    if extras(member):
        found = modules(member, with_extras=True)
        assert set(found) > set(plain), "no module stands where its extra says"
        result = run_alone(member, ["--all-extras"], "python", "-c", IMPORT_ALL, "torch", *found)
        assert result.returncode == 0, result.stderr


def check_that_training_needs_its_extra(member: Path) -> None:
    """Without the extra, the command says in one line what to install."""
    name = own_name(member)
    result = run_alone(member, [], f"{name}-train", "--help")
    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert f"uv run --package {name} --extra train {name}-train" in line
    assert "pip install" not in line  # a package of this name on a public index is another one
