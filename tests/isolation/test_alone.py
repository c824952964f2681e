"""Isolation, executed: each package is installed without its siblings' needs and every module of it is imported.

A sub-package that needs an extra has the extra's name. It is imported where the extra is installed too.
"""

import os
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
LIGHT = {"mask_interchange", "program_kit", "fusion_core", "rvos_evaluation", "rvos_synthetic"}  # work without torch
WITH_EXTRAS = [path for path in MEMBERS if "[project.optional-dependencies]" in (path / "pyproject.toml").read_text()]

IMPORT_ALL = """
import importlib, pkgutil, sys
name, forbidden, left_out = sys.argv[1], sys.argv[2].split(","), [f"{sys.argv[1]}.{extra}" for extra in sys.argv[3:]]
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, name + "."):
    if any(module.name == one or module.name.startswith(one + ".") for one in left_out):
        continue
    source = module.module_finder.find_spec(module.name).origin
    if source.endswith(".py") and not module.name.endswith("__main__"):  # a compiled library is no module
        importlib.import_module(module.name)
print(*(name for name in forbidden if name in sys.modules))
"""


def project(member: Path) -> dict:
    return tomllib.loads((member / "pyproject.toml").read_text())["project"]


def import_all(member: Path, *options: str, forbidden: str = "", left_out: Iterable[str] = ()) -> None:
    """Import every module of a package in an environment that uv makes exact for it."""
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    # One folder for all, made exact for each: what two packages share need not be compiled to byte code twice.
    environment["UV_PROJECT_ENVIRONMENT"] = str(ROOT / ".venvs" / "alone")
    run = ["uv", "run", "--locked", "--exact", "--quiet", "--package", project(member)["name"], *options]
    result = subprocess.run(
        [*run, "python", "-c", IMPORT_ALL, member.name, forbidden, *left_out],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stdout.split(), f"{member.name} must not import {result.stdout}"


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_package_works_alone(member):
    if not (member / "src" / member.name / "__init__.py").exists():
        pytest.skip(f"{member.name} only builds another distribution")
    extras = project(member).get("optional-dependencies", {})
    import_all(member, forbidden="torch" if member.name in LIGHT else "", left_out=extras)


@pytest.mark.parametrize("member", WITH_EXTRAS, ids=lambda path: path.name)
def test_package_works_with_its_extras(member):
    import_all(member, "--all-extras")
