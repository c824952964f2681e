"""The packages of the workspace, and which of their modules an extra owns.

The rule: what needs the extra `train` of a package stands in a folder or file of that name, `<package>/train/...`. The
`__init__` of such a folder is part of the plain install.
"""

import re
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
TOOLS = sorted(path.parent for path in ROOT.glob("tools/*/pyproject.toml"))


def normalised(name: str) -> str:
    """A distribution's name as the lock file spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def settings(member: Path) -> dict:
    """A package's `pyproject.toml`."""
    return tomllib.loads((member / "pyproject.toml").read_text())


def own_name(member: Path) -> str:
    """Its distribution."""
    return normalised(settings(member)["project"]["name"])


def names_of(requirements: list) -> set[str]:
    """The distributions that requirements name."""
    return {normalised(re.match(r"[\w.-]+", r).group()) for r in requirements if isinstance(r, str)}


def plain_dependencies(member: Path) -> set[str]:
    """What every user of a package installs."""
    return names_of(settings(member)["project"].get("dependencies", []))


def extras(member: Path) -> dict[str, set[str]]:
    """What each extra of a package adds."""
    return {
        normalised(extra): names_of(requirements)
        for extra, requirements in settings(member)["project"].get("optional-dependencies", {}).items()
    }


def extra_of(module: str, names: set[str]) -> str | None:
    """The extra, one of `names`, that a module such as `soc.train.objective` belongs to; None for a plain one.

    `module` of a package's `__init__` ends in `.__init__`.
    """
    _, *parts = module.split(".")
    owners = [extra for extra in names if extra in parts and parts[-2:] != [extra, "__init__"]]
    return owners[0] if owners else None


def module_files(member: Path) -> dict[str, Path]:
    """A package's modules by name, `soc.train.__init__` for a folder's own, in order."""
    source = member / "src"
    return {".".join(path.relative_to(source).with_suffix("").parts): path for path in sorted(source.rglob("*.py"))}
