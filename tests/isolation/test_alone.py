"""Isolation, executed: each package is installed without its siblings' needs and every module of it is imported."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
LIGHT = {"mask_interchange", "fusion_core", "rvos_evaluation", "rvos_synthetic"}  # work without torch

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    source = module.module_finder.find_spec(module.name).origin
    if source.endswith(".py") and not module.name.endswith("__main__"):  # a compiled library is no module
        importlib.import_module(module.name)
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_package_works_alone(member):
    name = tomllib.loads((member / "pyproject.toml").read_text())["project"]["name"]
    if not (member / "src" / member.name / "__init__.py").exists():
        pytest.skip(f"{name} only builds another distribution")
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    # One folder for all, made exact for each: what two packages share need not be compiled to byte code twice.
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venvs" / "alone")
    run = ["uv", "run", "--locked", "--exact", "--quiet", "--package", name]
    forbidden = ["torch"] if member.name in LIGHT else []
    result = subprocess.run(
        [*run, "python", "-c", IMPORT_ALL, member.name, *forbidden],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stdout.split(), f"{name} must not import {result.stdout}"
