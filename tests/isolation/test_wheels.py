"""Whoever installs from `uv.lock` needs no compiler: every package has a wheel for every Python that is allowed."""

import tomllib
from functools import cache

import pytest
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from tests.lock import LINUX, ROOT, Lock

LOCK = Lock(ROOT / "uv.lock")
PROJECTS = sorted(path for pattern in (".", "packages/*", "tools/*") for path in ROOT.glob(f"{pattern}/pyproject.toml"))
REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in SpecifierSet(REQUIRED)]  # too many without upper end

# Published as source only. Nothing in them is compiled, so they install everywhere.
PURE_SOURCE = {
    "antlr4-python3-runtime": "needed by omegaconf; 4.9 has Python sources only",
    "fvcore": "needed by detectron2; its wheels are on conda only, Python sources only",
    "iopath": "needed by detectron2; Python sources only",
}

MACOS = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
WINDOWS = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"}
WHEELS_OF = {  # the oldest systems that torch's wheels allow
    "linux": [
        *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)),
        *(f"manylinux{edition}_x86_64" for edition in (2014, 2010, 1)),
    ],
    "darwin": [*mac_platforms((14, 0), "arm64")],
    "win32": ["win_amd64"],
}


@cache
def tags(python: str, system: str) -> frozenset[Tag]:
    version = tuple(int(part) for part in python.split("."))
    interpreter = f"cp{python.replace('.', '')}"
    platforms = WHEELS_OF[system]
    return frozenset(
        [
            *cpython_tags(version, abis=[interpreter], platforms=platforms),
            *compatible_tags(version, interpreter, platforms=platforms),
        ]
    )


def without_wheel(member: str, python: str, platform: dict[str, str]) -> set[str]:
    """Packages of an environment that come from a registry and have no wheel there that fits."""
    fitting = tags(python, platform["sys_platform"])
    environment = LOCK.whole_environment(member, python, platform)
    return {
        f"{name} {entry['version']}"
        for name, entry in environment.items()
        if "registry" in entry["source"] and name not in PURE_SOURCE
        if not any(fitting & tags_of(wheel["url"]) for wheel in entry.get("wheels", ()))
    }


@cache
def tags_of(url: str) -> frozenset[Tag]:
    return parse_wheel_filename(url.rsplit("/", 1)[1].replace("%2B", "+"))[3]


@pytest.mark.parametrize("platform", [LINUX, MACOS, WINDOWS], ids=lambda platform: platform["platform_system"])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_of_every_environment_has_a_wheel(python, platform):
    missing = {member: found for member in LOCK.members if (found := without_wheel(member, python, platform))}
    assert not missing, f"no wheel for Python {python}; is the upper end of requires-python right? {missing}"


def test_packages_without_wheels_are_those_on_the_list():
    entries = {entry["name"]: entry for entry in LOCK.document["package"] if "registry" in entry["source"]}
    assert {name for name, entry in entries.items() if not entry.get("wheels")} == set(PURE_SOURCE)


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_every_package_allows_the_same_pythons(path):
    """A package with a wider range would be installed by a Python for which its requirements have no wheels."""
    assert tomllib.loads(path.read_text())["project"]["requires-python"] == REQUIRED


def test_uv_takes_a_python_that_is_allowed():
    pinned = (ROOT / ".python-version").read_text().strip()
    assert pinned in PYTHONS
    assert SpecifierSet(LOCK.document["requires-python"]) == SpecifierSet(REQUIRED)
