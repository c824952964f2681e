"""Isolation, read from the syntax trees: a package imports what it declares, and arrows point one way."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.lock import ROOT, Lock
from tests.programs import programs

LOCK = Lock(ROOT / "uv.lock")
PROJECTS = sorted(path for pattern in (".", "packages/*", "tools/*") for path in ROOT.glob(f"{pattern}/pyproject.toml"))
MEMBERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
CONFLICTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"].get("conflicts", [])
CONFLICTING = {one.get("package") for conflict in CONFLICTS for one in conflict}
PROGRAMS = sorted({program.member for program in programs("-(infer|propagate)")})

# Import names that differ from the name of the distribution that holds them.
DISTRIBUTION_OF = {"cv2": "opencv-python-headless", "PIL": "pillow"}
# The only ways workspace members may lean on each other (docs/architecture.md).
ARROWS = {
    "mask-interchange": set(),
    "program-kit": {"mask-interchange"},
    "msda-ops": set(),
    "detectron2": set(),
    "rvos-evaluation": {"mask-interchange"},
    "rvos-layers": {"msda-ops", "mask-interchange", "program-kit"},
    "rvos-training": {"rvos-layers", "mask-interchange", "rvos-evaluation", "program-kit"},
    "soc": {"rvos-layers", "rvos-training", "msda-ops", "mask-interchange", "program-kit"},
    "mutr": {"rvos-layers", "rvos-training", "msda-ops", "mask-interchange", "program-kit"},
    "referformer": {"rvos-layers", "rvos-training", "msda-ops", "mask-interchange", "program-kit"},
    "uninext": {"rvos-layers", "rvos-training", "msda-ops", "mask-interchange", "detectron2", "program-kit"},
    "aot-deaot": {"rvos-training", "mask-interchange", "program-kit"},
    "fusion-core": {"mask-interchange", "rvos-evaluation", "rvos-synthetic", "program-kit"},
    "rvos-synthetic": set(),
}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def settings(member: Path) -> dict:
    return tomllib.loads((member / "pyproject.toml").read_text())


def names_of(requirements: list) -> set[str]:
    return {normalised(re.match(r"[\w.-]+", r).group()) for r in requirements if isinstance(r, str)}


def declared(member: Path) -> set[str]:
    project = settings(member)["project"]
    extras = project.get("optional-dependencies", {}).values()
    return names_of(project.get("dependencies", [])) | {name for extra in extras for name in names_of(extra)}


def imported(folder: Path) -> dict[str, set[str]]:
    """Distribution name -> files that import it, standard library left out."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for top in {module.split(".")[0] for module in modules}:
                if top not in sys.stdlib_module_names:
                    distribution = normalised(DISTRIBUTION_OF.get(top, top))
                    found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.fixture(params=MEMBERS, ids=lambda path: path.name)
def member(request) -> Path:
    return request.param


def own_name(member: Path) -> str:
    return normalised(settings(member)["project"]["name"])


def test_source_imports_only_what_is_declared(member):
    allowed = declared(member) | {own_name(member)}
    undeclared = {name: files for name, files in imported(member / "src").items() if name not in allowed}
    assert not undeclared, f"{member.name}: imported but not in its pyproject.toml: {undeclared}"


def test_tests_import_only_what_is_declared(member):
    group = names_of(settings(member).get("dependency-groups", {}).get("test", []))
    local = {normalised(path.stem) for path in (member / "tests").rglob("*.py")}
    allowed = declared(member) | group | {own_name(member)} | local
    undeclared = {name: files for name, files in imported(member / "tests").items() if name not in allowed}
    assert not undeclared, f"{member.name}: tests import what its pyproject.toml does not name: {undeclared}"


def test_users_get_no_test_tools(member):
    """uv installs the group `dev` without being asked."""
    assert set(settings(member).get("dependency-groups", {})) <= {"test"}
    assert "default-groups" not in settings(member).get("tool", {}).get("uv", {})


def test_nothing_is_declared_in_vain(member):
    if not (member / "src").exists():
        pytest.skip(f"{member.name} only builds another distribution; its requirements are that distribution's")
    unused = declared(member) - set(imported(member / "src"))
    if own_name(member) in CONFLICTING:  # it may bound what its siblings bring
        siblings = [path for path in MEMBERS if own_name(path) in declared(member)]
        unused -= {name for sibling in siblings for name in declared(sibling)}
    assert not unused, f"{member.name}: declared but never imported: {sorted(unused)}"


def test_arrows_point_one_way(member):
    siblings = {own_name(path) for path in MEMBERS}
    assert declared(member) & siblings <= ARROWS[own_name(member)]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_nobody_depends_on_a_program(path):
    """uv leaves a package that stands in `[tool.uv] conflicts` out where another one depends on it (ADR 1)."""
    content = tomllib.loads(path.read_text())
    extras = content["project"].get("optional-dependencies", {})
    lists = [content["project"]["dependencies"], *extras.values(), *content.get("dependency-groups", {}).values()]
    for requirements in lists:
        assert not names_of(requirements) & {own_name(member) for member in PROGRAMS}


def test_program_kit_imports_torch_in_one_place_only():
    """Not even inside a function: programs show their help, and fuse masks, where there is no torch."""
    source = ROOT / "packages" / "program_kit" / "src"
    inside = str((source / "program_kit" / "torch").relative_to(ROOT))
    for name in ("torch", "safetensors"):
        assert all(path.startswith(inside) for path in imported(source)[name])


def test_every_dependency_has_a_lower_bound_and_no_exact_pin(member):
    siblings = {own_name(path) for path in MEMBERS}
    for requirement in settings(member)["project"].get("dependencies", []):
        name = normalised(re.match(r"[\w.-]+", requirement).group())
        if name not in siblings:
            assert ">=" in requirement or "~=" in requirement, f"{member.name}: {requirement} has no lower bound"
            assert "==" not in requirement.split(";")[0], f"{member.name}: {requirement} belongs in uv.lock"


def test_the_root_environment_has_no_torch():
    environment = LOCK.whole_environment("rvos-fusion")
    assert "fusion-core" in environment
    assert "torch" not in environment


def test_the_lock_file_names_one_public_registry():
    registries = {entry["source"]["registry"] for entry in LOCK.document["package"] if "registry" in entry["source"]}
    assert registries == {"https://pypi.org/simple"}
