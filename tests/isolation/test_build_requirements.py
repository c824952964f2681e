"""What packages are built with is as fixed as what they run with: `uv.lock` itself does not cover it."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lock import ROOT, Lock

PROJECTS = sorted(path for pattern in ("packages/*", "tools/*") for path in ROOT.glob(f"{pattern}/pyproject.toml"))
CONSTRAINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["build-constraint-dependencies"]
FROM_SOURCE = ["setuptools", "wheel"]  # for the few dependencies that are published as source only
OPTIONAL = ["cmake", "ninja"]  # scikit-build-core fetches them where the machine has none


def pins():
    parsed = [Requirement(text) for text in CONSTRAINTS]
    return {canonicalize_name(one.name): one.specifier for one in parsed}


def build_requirements(path):
    project = tomllib.loads(path.read_text())
    settings = project.get("tool", {}).get("scikit-build", {})
    return [
        Requirement(text)
        for text in (*project["build-system"]["requires"], *settings.get("build", {}).get("requires", ()))
    ]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_what_a_package_is_built_with_is_pinned(path):
    for requirement in build_requirements(path):
        if requirement.name == "uv_build":  # uv has it built in
            assert any(one.operator == "<" for one in requirement.specifier), f"{requirement}: no upper end"
            continue
        (pin,) = pins()[canonicalize_name(requirement.name)]
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{requirement}: the constraint is {pin}"


def test_every_constraint_is_exact_and_in_the_lock():
    assert {*FROM_SOURCE, *OPTIONAL} <= pins().keys()
    assert all([one.operator for one in specifier] == ["=="] for specifier in pins().values())
    locked = Lock(ROOT / "uv.lock").document["manifest"]["build-constraints"]
    assert {one["name"]: one["specifier"] for one in locked} == {name: str(pin) for name, pin in pins().items()}
