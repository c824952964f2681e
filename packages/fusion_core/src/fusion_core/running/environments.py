"""Where programs are, and the environments that they run in.

In a checkout of this project, a program of the workspace runs in the environment of its own package,
`.venvs/<package>`; uv brings it up to date first. Everywhere else, and for any other program, the first word of the
command line is looked up on the PATH.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from program_kit.messages import log

from fusion_core.errors import ProgramError

StatusCallback = Callable[[str], None]  # what is being done, in words

SIZE = "up to 3 GB to download and 6 GB of disk, of which environments share most"  # torch with CUDA libraries
# How those lines of uv begin that announce what takes time. uv prints none of them if an environment is up to date.
_SLOW_STEPS = ("Creating", "Downloading", "Downloaded", "Building", "Built", "Prepared", "Installed")


@dataclass(frozen=True, kw_only=True)
class WorkspacePackage:
    """A package of the workspace.

    Attributes:
        folder: holds its project file.
        distribution: its name for uv.
        version: of the package.
    """

    folder: Path
    distribution: str
    version: str

    @property
    def environment(self) -> Path:
        """The folder of its own virtual environment."""
        return self.folder.parents[1] / ".venvs" / self.folder.name

    def script(self, name: str) -> Path:
        """A command of its own virtual environment, which may not be there yet."""
        folder = sysconfig.get_path("scripts", "venv", {"base": str(self.environment)})
        return Path(folder) / f"{name}{sysconfig.get_config_var('EXE') or ''}"

    @property
    def weights(self) -> list[Path]:
        """The weights that are bundled with the package."""
        return sorted(self.folder.glob("src/*/*.safetensors"))

    @property
    def sync_by_hand(self) -> str:
        """The command line that brings the environment up to date."""
        return f"UV_PROJECT_ENVIRONMENT={self.environment} uv {' '.join(self._sync)}"

    @property
    def _sync(self) -> tuple[str, ...]:
        return "sync", "--frozen", "--inexact", "--no-default-groups", "--package", self.distribution

    def sync(self, *more: str, status: StatusCallback = lambda line: None) -> subprocess.CompletedProcess[str]:
        """Let uv bring the environment up to date or, with `--dry-run`, say what is out of date.

        Args:
            more: options of `uv sync`.
            status: called with each line of uv as it appears.

        Raises:
            ProgramError: uv is not installed.
        """
        uv = find_uv()
        if uv is None:
            raise ProgramError(
                f"the environment of {self.distribution} is made by uv, which is not on the PATH;"
                " see https://docs.astral.sh/uv"
            )
        said: list[str] = []
        with subprocess.Popen(
            [uv, *self._sync, *more],
            cwd=self.folder,
            env=_without_environment() | {"UV_PROJECT_ENVIRONMENT": str(self.environment)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                log.debug(line.rstrip())
                said.append(line)
                status(line.strip())
        return subprocess.CompletedProcess(process.args, process.returncode, stderr="".join(said))


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that was found.

    Attributes:
        command: its command line; the executable is an absolute path.
        package: the package of the workspace that it belongs to, or None.
    """

    command: tuple[str, ...]
    package: WorkspacePackage | None = None

    def make_ready(self, status: StatusCallback = lambda line: None) -> None:
        """Bring the environment of a workspace's program up to date; fast if it is already.

        Args:
            status: called with the steps that take time: the first time, this downloads for minutes.

        Raises:
            ProgramError: uv is not installed, or failed.
        """
        if self.package is None:
            return
        if not (self.package.environment / "pyvenv.cfg").is_file():
            status(f"making the environment of {self.package.distribution}: {SIZE}")
        result = self.package.sync(status=lambda line: status(line) if line.startswith(_SLOW_STEPS) else None)
        if result.returncode:
            raise ProgramError(
                f"the environment of {self.package.distribution} could not be made in {self.package.environment}; if"
                f" this machine is offline, run this once while it is online: {self.package.sync_by_hand}\n"
                f"{result.stderr.strip()}"
            )


def find_uv() -> str | None:
    """Path of uv; `uv run` gives it in a variable."""
    return os.environ.get("UV") or shutil.which("uv")


def find_program(command: Sequence[str]) -> Program:
    """The program of a command line.

    Raises:
        ProgramError: there is no program of that name.
    """
    name, *arguments = command
    if package := _packages_by_script().get(name):
        return Program(command=(str(package.script(name)), *arguments), package=package)
    beside = Path(sys.executable).parent  # programs that are installed in the environment of this one
    found = shutil.which(name) or shutil.which(name, path=str(beside))
    if found is None:
        scripts = ", ".join(_packages_by_script())
        known = f"; programs of this workspace are {scripts}" if scripts else ""
        raise ProgramError(f"no program {name!r} on the PATH{known}")
    return Program(command=(os.path.abspath(found), *arguments))


@cache
def _packages_by_script() -> Mapping[str, WorkspacePackage]:
    """The packages of the workspace by their console scripts; empty if this package runs outside a workspace."""
    root = _workspace()
    scripts: dict[str, WorkspacePackage] = {}
    for path in sorted(root.glob("packages/*/pyproject.toml")) if root else ():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        package = WorkspacePackage(folder=path.parent, distribution=project["name"], version=project.get("version", ""))
        scripts |= dict.fromkeys(project.get("scripts", ()), package)
    return scripts


def _workspace() -> Path | None:
    for folder in Path(__file__).resolve().parents:
        if (folder / "uv.lock").is_file() and (folder / "packages").is_dir():
            return folder
    return None


def _without_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
