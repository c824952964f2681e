"""Isolation, read from the syntax trees: a package imports what it declares, and arrows point one way."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.lock import Lock
from tests.members import (
    MEMBERS,
    ROOT,
    TOOLS,
    extra_of,
    extras,
    module_files,
    names_of,
    normalised,
    own_name,
    plain_dependencies,
    settings,
)
from tests.programs import programs

LOCK = Lock(ROOT / "uv.lock")
PROJECTS = sorted(path for pattern in (".", "packages/*", "tools/*") for path in ROOT.glob(f"{pattern}/pyproject.toml"))
CONFLICTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"].get("conflicts", [])
CONFLICTING = {one.get("package") for conflict in CONFLICTS for one in conflict}
PROGRAMS = sorted({program.member for program in programs("-(infer|propagate)")})

# Import names that differ from the name of the distribution that holds them.
DISTRIBUTION_OF = {"cv2": "opencv-python-headless", "PIL": "pillow", "rerun": "rerun-sdk"}
# The only ways workspace members may lean on each other (docs/architecture.md).
ARROWS = {
    "mask-interchange": set(),
    "program-kit": {"mask-interchange"},
    "msda-ops": set(),
    "detectron2": set(),
    "rvos-evaluation": {"mask-interchange"},
    "rvos-layers": {"msda-ops", "mask-interchange", "program-kit"},
    "rvos-training": {"rvos-layers", "mask-interchange", "rvos-evaluation", "program-kit"},
    "soc": {"rvos-layers", "msda-ops", "mask-interchange", "program-kit"},
    "mutr": {"rvos-layers", "msda-ops", "mask-interchange", "program-kit"},
    "referformer": {"rvos-layers", "msda-ops", "mask-interchange", "program-kit"},
    "uninext": {"rvos-layers", "msda-ops", "mask-interchange", "detectron2", "program-kit"},
    "aot-deaot": {"mask-interchange", "program-kit"},
    "grounded-sam2": {"mask-interchange", "program-kit"},
    "cutie": {"mask-interchange", "program-kit"},
    "fusion-core": {"mask-interchange", "rvos-evaluation", "rvos-synthetic", "program-kit"},
    "rvos-synthetic": set(),
}
EXTRA_ARROWS = {"train": {"rvos-training"}}


# Of what training alone needs, one distribution of each kind: no plain install may hold it.
TRAINING_ONLY = {"rvos-training", "accelerate", "kornia", "tensorboardx"}
# How many distributions a plain install may hold, workspace packages left out.
AT_MOST = {"aot-deaot": 51, "cutie": 50, "soc": 68, "mutr": 68, "referformer": 68, "uninext": 88}


def declared(member: Path) -> set[str]:
    return plain_dependencies(member).union(*extras(member).values())


def imported(folder: Path) -> dict[str, set[str]]:
    """Distribution name -> files that import it, standard library left out."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for distribution in {distribution_of(module) for module in modules_imported(ast.walk(tree))} - {None}:
            found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return found


def modules_imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Full names of all that import statements name, whether module or something in one."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when a module is imported: not the bodies of functions, nor what only type checkers see."""
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        queue += ast.iter_child_nodes(node)


def distribution_of(module: str) -> str | None:
    """The distribution that holds a module; None for the standard library."""
    top = module.split(".")[0]
    return None if top in sys.stdlib_module_names else normalised(DISTRIBUTION_OF.get(top, top))


@pytest.fixture(params=MEMBERS, ids=lambda path: path.name)
def member(request) -> Path:
    return request.param


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


def arrows(package: Path) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """The modules of a package, as parts of their names below it, and which of its modules each imports."""
    names = {path.relative_to(package.parent).with_suffix("").parts: path for path in package.rglob("*.py")}
    modules = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in names.items()}
    found = {}
    for module, path in modules.items():
        targets: set[tuple[str, ...]] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                targets |= {tuple(alias.name.split(".")) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                source = tuple((node.module or "").split("."))
                inner = {(*source, alias.name) for alias in node.names}
                targets |= {one if one in modules else source for one in inner}
        found[module] = (targets & modules.keys()) - {module}
    return found


def circle(graph: dict) -> list | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_arrows_point_one_way_inside_a_package(member):
    """Among its modules, and among what stands on the first level: modules and sub-packages."""
    package = member / "src" / member.name
    if not package.exists():
        pytest.skip(f"{member.name} only builds another distribution")
    modules = arrows(package)
    assert not circle(modules), f"{member.name}: modules import each other: {circle(modules)}"
    rooms: dict[str, set[str]] = {}
    for module, targets in modules.items():
        for target in targets:
            if len(module) > 1 and len(target) > 1 and module[1] != target[1]:
                rooms.setdefault(module[1], set()).add(target[1])
    assert not circle(rooms), f"{member.name}: sub-packages import each other: {circle(rooms)}"


def test_arrows_point_one_way(member):
    siblings = {own_name(path) for path in MEMBERS}
    assert plain_dependencies(member) & siblings <= ARROWS[own_name(member)]
    for extra, names in extras(member).items():
        assert names & siblings <= EXTRA_ARROWS.get(extra, set())


@pytest.mark.parametrize("member", [*MEMBERS, *TOOLS], ids=lambda path: path.name)
def test_plain_modules_do_not_import_what_only_an_extra_installs(member):
    names = set(extras(member))
    hidden = declared(member) - plain_dependencies(member)
    for name, path in module_files(member).items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        owner = extra_of(name, names)
        allowed = set() if owner is None else {owner}
        for module in modules_imported(at_import(tree)):
            needed = extra_of(module, names) if module.startswith(f"{member.name}.") else None
            assert needed in {None, *allowed}, f"{name} imports {module}, which only the extra {needed!r} can"
            assert owner or distribution_of(module) not in hidden, f"{name} imports {module}, which an extra installs"


@pytest.mark.parametrize("name", AT_MOST)
def test_a_plain_install_carries_no_training(name):
    assert not TRAINING_ONLY & set(LOCK.environment(name))
    if "train" in extras(ROOT / "packages" / name.replace("-", "_")):
        assert set(LOCK.environment(name, extras=["train"])) >= TRAINING_ONLY
    export = ["uv", "export", "--locked", "--quiet", "--no-dev", "--no-emit-workspace", "--no-hashes", "--package"]
    lines = subprocess.run([*export, name], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    distributions = [line for line in lines if re.match(r"[a-z]", line)]
    assert 20 < len(distributions) <= AT_MOST[name]


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
