"""What there is to run recipes with: environments, programs, kernels, devices, disk, and what would be downloaded.

Nothing is changed, downloaded or installed. The environment of a program is asked itself what it can do.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import distributions
from pathlib import Path

import psutil
from program_kit.distributions import published_name
from program_kit.weights_folder import hub_cache, stored, weights_folder
from program_kit.weights_table import needs_of, published
from rvos_evaluation.threads import in_threads

from fusion_core.errors import ProgramError
from fusion_core.recipe.named import named_recipes
from fusion_core.running.environments import Program, WorkspacePackage, find_program, find_uv
from fusion_core.weights.catalogue import entries
from fusion_core.weights.web import is_offline

GIB = 2**30
LITTLE_DISK = 1 * GIB  # below this masks of a data set may not fit
ENVIRONMENT_SIZE = 6 * GIB  # of torch with CUDA libraries, unpacked; uv links files that several environments share
DRIVER = 580  # the oldest NVIDIA driver for CUDA 13, for which torch (uv.lock) and msda-ops are built
PATIENCE = 180.0  # seconds that a question to an environment may take

# Packages whose versions explain most differences between machines.
TELLING = ("torch", "transformers", "detectron2", "msda-ops", "numpy")


class State(StrEnum):
    """How serious a diagnosis is."""

    FINE = "fine"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was checked.

    Attributes:
        area: what it belongs to.
        subject: what was checked.
        state: whether it will work.
        text: what was found.
        remedy: what to do about a problem; or what a note means.
    """

    area: str
    subject: str
    state: State
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state is State.PROBLEM and not self.remedy:
            raise ValueError(f"{self.area}, {self.subject}: a problem must say what to do")


def examine(runs: Path) -> Iterator[Diagnosis]:
    """Check everything. Slow checks run at the same time; results come in order.

    Args:
        runs: folder for the runs.
    """
    yield from machine()
    gpus, diagnoses = graphics()
    yield from diagnoses
    yield from tools()
    names = sorted({model.program[0] for recipe in named_recipes().values() for model in recipe.models})
    programs, diagnoses = find_programs(names)
    yield from diagnoses
    packages = list({one.package.distribution: one.package for one in programs.values() if one.package}.values())
    to_download = 0
    for of_package, downloads in in_threads(environment, packages):
        yield from of_package
        to_download += downloads
    ready = {name: one for name, one in programs.items() if Path(one.command[0]).exists()}
    yield from in_threads(lambda item: answers(*item), ready.items())
    pythons = {Path(one.command[0]).parent / "python": one for one in ready.values()}
    for of_kernels in in_threads(lambda item: kernels(*item, gpus=gpus), pythons.items()):
        yield from of_kernels
    yield from weights()
    yield from vocabularies(set(ready))
    yield from disk(runs, packages, to_download)


def machine() -> Iterator[Diagnosis]:
    """Cores and main memory."""
    memory = psutil.virtual_memory()
    text = f"{os.cpu_count()} cores, {memory.total / GIB:.1f} GiB of memory, {memory.available / GIB:.1f} of it free"
    needed = max(model.memory for recipe in named_recipes().values() for model in recipe.models)
    if memory.available >= needed * GIB:
        yield Diagnosis(area="machine", subject="memory", state=State.FINE, text=text)
    else:
        yield Diagnosis(
            area="machine",
            subject="memory",
            state=State.NOTE,
            text=text,
            remedy=f"full-size models are planned with {needed:.0f} GiB; close other programs, or use recipe `demo`",
        )


def graphics() -> tuple[int, list[Diagnosis]]:
    """NVIDIA GPUs as the driver lists them: how many, and what was found."""
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        text = "no NVIDIA GPU (there is no nvidia-smi): programs compute on the CPU"
        return 0, [Diagnosis(area="devices", subject="gpu", state=State.FINE, text=text)]
    code, output = _ask([tool, *query])
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if code or not lines:
        return 0, [
            Diagnosis(
                area="devices",
                subject="gpu",
                state=State.PROBLEM,
                text=f"nvidia-smi fails: {_last(output)}",
                remedy="repair the NVIDIA driver, or choose `--device cpu`",
            )
        ]
    return len(lines), [_graphics_card(number, line) for number, line in enumerate(lines)]


def _graphics_card(number: int, line: str) -> Diagnosis:
    """A GPU, given as name, memory and driver version; an old driver runs none of the programs' code."""
    driver = re.search(r"(\d+)[\d.]*$", line)
    if driver and int(driver[1]) < DRIVER:
        return Diagnosis(
            area="devices",
            subject=f"cuda:{number}",
            state=State.PROBLEM,
            text=f"{line}: the driver is older than {DRIVER}, so programs compute on the CPU",
            remedy=f"update the NVIDIA driver to {DRIVER} or newer (CUDA 13), or choose `--device cpu`",
        )
    return Diagnosis(area="devices", subject=f"cuda:{number}", state=State.FINE, text=line)


def tools() -> Iterator[Diagnosis]:
    """uv, which makes the environments."""
    uv = find_uv()
    if uv is None:
        yield Diagnosis(
            area="tools",
            subject="uv",
            state=State.NOTE,
            text="not on the PATH",
            remedy="environments cannot be made or brought up to date; see https://docs.astral.sh/uv",
        )
        return
    code, output = _ask([uv, "--version"])
    if code:
        yield Diagnosis(
            area="tools",
            subject="uv",
            state=State.PROBLEM,
            text=f"{uv} fails: {_last(output)}",
            remedy="install it again: https://docs.astral.sh/uv",
        )
    else:
        yield Diagnosis(area="tools", subject="uv", state=State.FINE, text=f"{_last(output)}, {uv}")


def find_programs(names: Sequence[str]) -> tuple[dict[str, Program], list[Diagnosis]]:
    """The programs of the built-in recipes, and a problem for each that was not found."""
    found, diagnoses = {}, []
    for name in names:
        try:
            found[name] = find_program((name,))
        except ProgramError as error:
            remedy = "work in a checkout of this project, or install the program and put it on the PATH"
            diagnoses.append(
                Diagnosis(area="programs", subject=name, state=State.PROBLEM, text=str(error), remedy=remedy)
            )
    return found, diagnoses


def environment(package: WorkspacePackage) -> tuple[list[Diagnosis], int]:
    """State of a package's own environment, and how many packages would be downloaded for it."""

    def diagnosis(state: State, text: str, remedy: str = "") -> Diagnosis:
        return Diagnosis(area="environments", subject=package.folder.name, state=state, text=text, remedy=remedy)

    is_there = (package.environment / "pyvenv.cfg").is_file()
    found = _versions(package.environment) | _python(package.environment) if is_there else {}
    known = ", ".join(f"{name} {found[name]}" for name in (package.distribution, "Python", *TELLING) if name in found)
    try:
        result = package.sync("--dry-run", "--color", "never")
    except ProgramError as error:
        if is_there:
            return [diagnosis(State.NOTE, f"{known}; only uv can tell whether it is up to date")], 0
        return [diagnosis(State.PROBLEM, "not made yet", str(error))], 0
    if result.returncode:
        return [diagnosis(State.PROBLEM, f"uv cannot plan it: {_last(result.stderr)}", package.sync_by_hand)], 0
    changes, downloads = _planned(result.stderr)
    if not changes:
        return [diagnosis(State.FINE, f"{known}; up to date")], 0
    state = f"{changes} to install or remove" + (f", {downloads} to download" if downloads else "")
    state = f"{known}; out of date against uv.lock: {state}" if is_there else f"not made yet: {state}"
    if downloads and os.environ.get("UV_OFFLINE"):
        return [diagnosis(State.PROBLEM, state, f"UV_OFFLINE is set; once online: {package.sync_by_hand}")], downloads
    return [diagnosis(State.NOTE, state, f"done on first use; to do it now: {package.sync_by_hand}")], downloads


def answers(name: str, program: Program) -> Diagnosis:
    """Whether a program starts."""
    code, output = _ask([*program.command, "--help"])
    if code:
        again = f"; delete {program.package.environment}, and the next run makes it again" if program.package else ""
        return Diagnosis(
            area="programs",
            subject=name,
            state=State.PROBLEM,
            text=f"does not start: {_last(output)}",
            remedy=f"see what `{program.command[0]} --help` says{again}",
        )
    return Diagnosis(area="programs", subject=name, state=State.FINE, text=f"starts, {program.command[0]}")


def kernels(python: Path, program: Program, *, gpus: int) -> Iterator[Diagnosis]:
    """Which path of the deformable attention an environment takes, as `python -m msda_ops` reports and checks."""
    subject = program.package.folder.name if program.package else python.parent.parent.name
    if not {"msda-ops", published_name("msda-ops")} & _versions(python.parent.parent).keys():
        return
    code, output = _ask([str(python), "-m", "msda_ops"])
    paths = re.findall(r"^  (\S+) (float32|float16|bfloat16|float64): (.+)$", output, re.MULTILINE)
    if code or not paths:
        yield Diagnosis(
            area="kernels",
            subject=subject,
            state=State.PROBLEM,
            text=f"the self-check fails: {_last(output)}",
            remedy=f"`{python} -m msda_ops` says what is wrong",
        )
        return
    for device, dtype, path in paths:
        if dtype != "float32":
            continue
        if "torch twin" in path and not device.startswith("mps"):
            yield Diagnosis(
                area="kernels",
                subject=f"{subject} on {device}",
                state=State.NOTE,
                text=path,
                remedy=f"results are the same, only slower; `{python} -m msda_ops` says how to get the kernel",
            )
        else:
            yield Diagnosis(area="kernels", subject=f"{subject} on {device}", state=State.FINE, text=path)
    if gpus and not any(device.startswith("cuda") for device, _, _ in paths):
        yield Diagnosis(
            area="devices",
            subject=subject,
            state=State.PROBLEM,
            text="there is a GPU, but torch in this environment does not see it",
            remedy="update the NVIDIA driver to one for the CUDA version of this torch, or choose `--device cpu`",
        )


def weights() -> Iterator[Diagnosis]:
    """How many of the published weights that the built-in recipes take are in the user's folder."""
    folder = weights_folder()
    seen: set[tuple[str, ...]] = set()
    for recipe in named_recipes().values():
        found = entries(recipe)
        names = tuple(entry.weights.name for entry in found)
        if not names or names in seen:
            continue
        seen.add(names)
        missing = [entry.weights.name for entry in found if not entry.is_there]
        yield Diagnosis(
            area="weights",
            subject=recipe.name,
            state=State.NOTE if missing else State.FINE,
            text=f"{len(names) - len(missing)} of {len(names)} in {folder}, {_free(folder) / GIB:.1f} GiB free there",
            remedy=f"`uv run fusion-core weights list --recipe {recipe.name}` says where to get {', '.join(missing)}"
            if missing
            else "",
        )


def vocabularies(programs: set[str]) -> Iterator[Diagnosis]:
    """Whether the tokenizers of published weights are in the user's folder, or in the cache of the Hugging Face hub."""
    users: dict[str, set[str]] = {}
    for program in programs:
        for needs in needs_of(program).values():
            if needs.tokenizer is not None:
                users.setdefault(needs.tokenizer, set()).add(program)
    cache = hub_cache()
    for name in sorted(users):
        folders = [f"models--{one.replace('/', '--')}" for one in (name, published(name).hub or name)]
        there = stored(name) or next((cache for one in folders if (cache / one / "snapshots").is_dir()), None)
        if there is not None:
            yield Diagnosis(area="downloads", subject=name, state=State.FINE, text=f"in {there}")
            continue
        offline = ", and HF_HUB_OFFLINE is set" if is_offline() else ", fetched from the Hugging Face hub on first use"
        yield Diagnosis(
            area="downloads",
            subject=name,
            state=State.NOTE,
            text=f"not there{offline}",
            remedy=f"{', '.join(sorted(users[name]))} need it with published weights only; "
            f"`uv run fusion-core weights fetch {name}` gets it now; or give `--tokenizer FOLDER`",
        )


def disk(runs: Path, packages: Sequence[WorkspacePackage], downloads: int) -> Iterator[Diagnosis]:
    """Space for runs, and for environments that must be made."""
    free = _free(runs)
    text = f"{free / GIB:.1f} GiB free for {runs}"
    if free < LITTLE_DISK:
        yield Diagnosis(
            area="disk",
            subject="runs",
            state=State.PROBLEM,
            text=text,
            remedy="make room, or give a folder on another disk",
        )
    else:
        yield Diagnosis(area="disk", subject="runs", state=State.FINE, text=text)
    if packages and downloads:
        home = packages[0].environment.parent
        free = shutil.disk_usage(home if home.exists() else home.parent).free
        text = f"{free / GIB:.1f} GiB free for environments in {home}; about {ENVIRONMENT_SIZE / GIB:.0f} are needed"
        if free < ENVIRONMENT_SIZE:
            yield Diagnosis(area="disk", subject="environments", state=State.PROBLEM, text=text, remedy="make room")
        else:
            yield Diagnosis(area="disk", subject="environments", state=State.FINE, text=text)


def _ask(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and all output of a command. A command that cannot be started or hangs counts as failed."""
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {PATIENCE:.0f} s"
    except OSError as error:
        return 1, str(error)
    return result.returncode, result.stdout


def _last(output: str) -> str:
    """The last line that is not empty: errors are there."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _planned(plan: str) -> tuple[int, int]:
    """Packages to change and to download by `uv sync --dry-run`, except those of the workspace."""
    changes = re.findall(r"^ [+~-] \S+(.*)$", plan, re.MULTILINE)
    fetched = re.search(r"^Would download (\d+) package", plan, re.MULTILINE)
    local = sum("file://" in change for change in changes)
    return len(changes), max(0, int(fetched[1]) - local) if fetched else 0


def _versions(environment: Path) -> dict[str, str]:
    """Versions of the installed packages, by name, without starting the environment's Python."""
    paths = [str(path) for path in (*environment.glob("lib/python*/site-packages"), environment / "Lib/site-packages")]
    return {one.name.lower().replace("_", "-"): one.version for one in distributions(path=paths) if one.name}


def _python(environment: Path) -> dict[str, str]:
    """Version of an environment's Python by its settings: `version_info` of uv, `version` of venv."""
    text = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    match = re.search(r"^version(?:_info)? = (\S+)", text, re.MULTILINE)
    return {"Python": match[1]} if match else {}


def _free(path: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free
