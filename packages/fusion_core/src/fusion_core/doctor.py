"""What is there to run recipes with: environments, programs, kernels, devices, disk, and what would be downloaded.

Nothing is changed, downloaded or installed. What a program's own environment can do, that environment is asked itself.
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
from rvos_evaluation.threads import in_threads

from fusion_core.errors import ProgramError
from fusion_core.recipe.published import RECIPES
from fusion_core.running.environments import Member, Program, find_program, find_uv

GIB = 2**30
LITTLE_DISK = 1 * GIB  # below this masks of a data set may not fit
ENVIRONMENT_SIZE = 6 * GIB  # of torch with CUDA libraries, unpacked; uv links files that several environments share
PATIENCE = 180.0  # seconds that a question to an environment may take

# Packages whose versions explain most differences between two machines.
TELLING = ("torch", "transformers", "detectron2", "msda-ops", "numpy")

# Vocabularies that programs take from the Hugging Face hub for published weights; demo weights bring their own.
HUB_TOKENIZERS = {
    "roberta-base": ("soc-infer", "mutr-infer", "referformer-infer"),
    "bert-base-uncased": ("uninext-infer",),
}
# What the hub calls them since it moved them to their authors.
HUB_FOLDERS = {"roberta-base": "FacebookAI/roberta-base", "bert-base-uncased": "google-bert/bert-base-uncased"}


class State(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: what it belongs to.
        subject: what was looked at.
        state: whether it will work.
        text: what was found.
        remedy: what to do about a problem; for a note, what it means.
    """

    area: str
    subject: str
    state: State
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state is State.PROBLEM and not self.remedy:
            raise ValueError(f"{self.area}, {self.subject}: a problem must say what to do")


def examine(place: Path) -> Iterator[Finding]:
    """Look at everything; the slow questions are asked side by side, their answers come in order.

    Args:
        place: folder whose disk will take the runs.
    """
    yield from machine()
    gpus, findings = graphics()
    yield from findings
    yield from tools()
    names = sorted({model.program[0] for recipe in RECIPES.values() for model in recipe.models})
    programs, findings = find_programs(names)
    yield from findings
    members = list({one.member.distribution: one.member for one in programs.values() if one.member}.values())
    missing_packages = 0
    for of_member, downloads in in_threads(environment, members):
        yield from of_member
        missing_packages += downloads
    ready = {name: one for name, one in programs.items() if Path(one.command[0]).exists()}
    yield from in_threads(lambda item: answers(*item), ready.items())
    pythons = {Path(one.command[0]).parent / "python": one for one in ready.values()}
    for of_kernels in in_threads(lambda item: kernels(*item, gpus=gpus), pythons.items()):
        yield from of_kernels
    yield from vocabularies(set(ready))
    yield from disk(place, members, missing_packages)


def machine() -> Iterator[Finding]:
    """Cores and main memory."""
    memory = psutil.virtual_memory()
    text = f"{os.cpu_count()} cores, {memory.total / GIB:.1f} GiB of memory, {memory.available / GIB:.1f} of it free"
    needed = max(model.memory for recipe in RECIPES.values() for model in recipe.models)
    if memory.available >= needed * GIB:
        yield Finding(area="machine", subject="memory", state=State.FINE, text=text)
    else:
        yield Finding(
            area="machine",
            subject="memory",
            state=State.NOTE,
            text=text,
            remedy=f"full-size models are planned with {needed:.0f} GiB; close other programs, or use recipe `demo`",
        )


def graphics() -> tuple[int, list[Finding]]:
    """NVIDIA GPUs as the driver lists them: their number, and what was found."""
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        text = "no NVIDIA GPU (there is no nvidia-smi): programs compute on the CPU"
        return 0, [Finding(area="devices", subject="gpu", state=State.FINE, text=text)]
    code, output = _ask([tool, *query])
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if code or not lines:
        return 0, [
            Finding(
                area="devices",
                subject="gpu",
                state=State.PROBLEM,
                text=f"nvidia-smi fails: {_last(output)}",
                remedy="repair the NVIDIA driver, or choose `--device cpu`",
            )
        ]
    return len(lines), [
        Finding(area="devices", subject=f"cuda:{number}", state=State.FINE, text=line)
        for number, line in enumerate(lines)
    ]


def tools() -> Iterator[Finding]:
    """uv, which makes the environments."""
    uv = find_uv()
    if uv is None:
        yield Finding(
            area="tools",
            subject="uv",
            state=State.NOTE,
            text="not on the PATH",
            remedy="environments cannot be made or brought up to date; see https://docs.astral.sh/uv",
        )
        return
    code, output = _ask([uv, "--version"])
    if code:
        yield Finding(
            area="tools",
            subject="uv",
            state=State.PROBLEM,
            text=f"{uv} fails: {_last(output)}",
            remedy="install it anew: https://docs.astral.sh/uv",
        )
    else:
        yield Finding(area="tools", subject="uv", state=State.FINE, text=f"{_last(output)}, {uv}")


def find_programs(names: Sequence[str]) -> tuple[dict[str, Program], list[Finding]]:
    """The programs of the shipped recipes; those that are nowhere are findings."""
    found, findings = {}, []
    for name in names:
        try:
            found[name] = find_program((name,))
        except ProgramError as error:
            remedy = "work in a checkout of this project, or install the program and put it on the PATH"
            findings.append(Finding(area="programs", subject=name, state=State.PROBLEM, text=str(error), remedy=remedy))
    return found, findings


def environment(member: Member) -> tuple[list[Finding], int]:
    """State of a package's own environment, and how many packages would be downloaded for it."""

    def finding(state: State, text: str, remedy: str = "") -> Finding:
        return Finding(area="environments", subject=member.folder.name, state=state, text=text, remedy=remedy)

    is_there = (member.environment / "pyvenv.cfg").is_file()
    found = _versions(member.environment) | _python(member.environment) if is_there else {}
    known = ", ".join(f"{name} {found[name]}" for name in (member.distribution, "Python", *TELLING) if name in found)
    try:
        result = member.sync("--dry-run", "--color", "never")
    except ProgramError as error:
        if is_there:
            return [finding(State.NOTE, f"{known}; whether it is up to date only uv can tell")], 0
        return [finding(State.PROBLEM, "not made yet", str(error))], 0
    if result.returncode:
        return [finding(State.PROBLEM, f"uv cannot plan it: {_last(result.stderr)}", member.sync_by_hand)], 0
    changes, downloads = _planned(result.stderr)
    if not changes:
        return [finding(State.FINE, f"{known}; up to date")], 0
    state = f"{changes} to install or remove" + (f", {downloads} to download" if downloads else "")
    state = f"{known}; out of date against uv.lock: {state}" if is_there else f"not made yet: {state}"
    if downloads and os.environ.get("UV_OFFLINE"):
        return [finding(State.PROBLEM, state, f"UV_OFFLINE is set; once online: {member.sync_by_hand}")], downloads
    return [finding(State.NOTE, state, f"happens on first use; to do it now: {member.sync_by_hand}")], downloads


def answers(name: str, program: Program) -> Finding:
    """Whether a program starts at all."""
    code, output = _ask([*program.command, "--help"])
    if code:
        again = f"; delete {program.member.environment} to have it made anew" if program.member else ""
        return Finding(
            area="programs",
            subject=name,
            state=State.PROBLEM,
            text=f"does not start: {_last(output)}",
            remedy=f"see what `{program.command[0]} --help` says{again}",
        )
    return Finding(area="programs", subject=name, state=State.FINE, text=f"starts, {program.command[0]}")


def kernels(python: Path, program: Program, *, gpus: int) -> Iterator[Finding]:
    """Which path of the deformable attention an environment takes, as `python -m msda_ops` tells and checks."""
    subject = program.member.folder.name if program.member else python.parent.parent.name
    if "msda-ops" not in _versions(python.parent.parent):
        return
    code, output = _ask([str(python), "-m", "msda_ops"])
    paths = re.findall(r"^  (\S+) (float32|float16|bfloat16|float64): (.+)$", output, re.MULTILINE)
    if code or not paths:
        yield Finding(
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
            yield Finding(
                area="kernels",
                subject=f"{subject} on {device}",
                state=State.NOTE,
                text=path,
                remedy=f"results are the same, only slower; `{python} -m msda_ops` says how to get the kernel",
            )
        else:
            yield Finding(area="kernels", subject=f"{subject} on {device}", state=State.FINE, text=path)
    if gpus and not any(device.startswith("cuda") for device, _, _ in paths):
        yield Finding(
            area="devices",
            subject=subject,
            state=State.PROBLEM,
            text="there is a GPU, but torch of this environment does not see it",
            remedy="update the NVIDIA driver to one for the CUDA version of this torch, or choose `--device cpu`",
        )


def vocabularies(programs: set[str]) -> Iterator[Finding]:
    """Whether the vocabularies of published weights are in the cache of the Hugging Face hub."""
    cache = _hub_cache()
    offline = bool(os.environ.get("HF_HUB_OFFLINE"))
    for name, users in HUB_TOKENIZERS.items():
        needed = sorted(programs.intersection(users))
        if not needed:
            continue
        folders = [cache / f"models--{one.replace('/', '--')}" / "snapshots" for one in (name, HUB_FOLDERS[name])]
        if any(folder.is_dir() for folder in folders):
            yield Finding(area="downloads", subject=name, state=State.FINE, text=f"in {cache}")
            continue
        yield Finding(
            area="downloads",
            subject=name,
            state=State.NOTE,
            text="not there"
            + (", and HF_HUB_OFFLINE is set" if offline else ", fetched from the Hugging Face hub on first use"),
            remedy=f"{', '.join(needed)} need it with published weights only; or give `--tokenizer FOLDER`",
        )


def disk(place: Path, members: Sequence[Member], downloads: int) -> Iterator[Finding]:
    """Room for runs, and for environments that are to be made."""
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / GIB:.1f} GiB free for {place}"
    if free < LITTLE_DISK:
        yield Finding(
            area="disk", subject="runs", state=State.PROBLEM, text=text, remedy="make room, or give a folder elsewhere"
        )
    else:
        yield Finding(area="disk", subject="runs", state=State.FINE, text=text)
    if members and downloads:
        home = members[0].environment.parent
        free = shutil.disk_usage(home if home.exists() else home.parent).free
        text = f"{free / GIB:.1f} GiB free for environments in {home}; about {ENVIRONMENT_SIZE / GIB:.0f} are needed"
        if free < ENVIRONMENT_SIZE:
            yield Finding(area="disk", subject="environments", state=State.PROBLEM, text=text, remedy="make room")
        else:
            yield Finding(area="disk", subject="environments", state=State.FINE, text=text)


def _ask(command: Sequence[str]) -> tuple[int, str]:
    """Exit status and all output of a command; a command that cannot be started or hangs counts as failed."""
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
    """The last line that says something: errors stand there."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _planned(plan: str) -> tuple[int, int]:
    """Packages to change, and to download, by `uv sync --dry-run`. Packages of the workspace are no downloads."""
    changes = re.findall(r"^ [+~-] \S+(.*)$", plan, re.MULTILINE)
    fetched = re.search(r"^Would download (\d+) package", plan, re.MULTILINE)
    local = sum("file://" in change for change in changes)
    return len(changes), max(0, int(fetched[1]) - local) if fetched else 0


def _versions(environment: Path) -> dict[str, str]:
    """Versions of what is installed, by name, without starting the environment's Python."""
    paths = [str(path) for path in (*environment.glob("lib/python*/site-packages"), environment / "Lib/site-packages")]
    return {one.name.lower().replace("_", "-"): one.version for one in distributions(path=paths) if one.name}


def _python(environment: Path) -> dict[str, str]:
    """Version of an environment's Python, as its settings say: `version_info` by uv, `version` by venv."""
    text = (environment / "pyvenv.cfg").read_text(encoding="utf-8")
    match = re.search(r"^version(?:_info)? = (\S+)", text, re.MULTILINE)
    return {"Python": match[1]} if match else {}


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its files, by its own environment variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder)
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return (Path(home) if home else Path(cache).expanduser() / "huggingface") / "hub"
