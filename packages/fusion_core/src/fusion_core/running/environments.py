"""Where programs are and the environments they run in.

In a checkout of this project a program of the workspace runs in its package's own environment, `.venvs/<package>`,
which uv brings up to date first. Anywhere else, and for any other program, the first word of its command line is looked
up on the PATH.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fusion_core.errors import ProgramError

Tell = Callable[[str], None]

# How lines of uv begin that tell what takes time; one about an environment that is up to date has none of them.
_NEWS = ("Creating", "Downloading", "Downloaded", "Building", "Built", "Prepared", "Installed")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A package of the workspace.

    Attributes:
        folder: in which its project file stands.
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

    @property
    def weights(self) -> list[Path]:
        """The weights that the package ships."""
        return sorted(self.folder.glob("src/*/*.safetensors"))

    @property
    def sync_by_hand(self) -> str:
        """The command line that brings the environment up to date."""
        return f"UV_PROJECT_ENVIRONMENT={self.environment} uv {' '.join(self._sync)}"

    @property
    def _sync(self) -> tuple[str, ...]:
        return "sync", "--frozen", "--inexact", "--no-default-groups", "--package", self.distribution

    def sync(self, *more: str, tell: Tell = lambda line: None) -> subprocess.CompletedProcess[str]:
        """Let uv bring the environment up to date, or, with `--dry-run`, tell what is out of date.

        Args:
            more: options of `uv sync`.
            tell: is called with each line that uv says, when it says it.

        Raises:
            ProgramError: uv is not there.
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
                said.append(line)
                tell(line.strip())
        return subprocess.CompletedProcess(process.args, process.returncode, stderr="".join(said))


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that was found.

    Attributes:
        command: its command line, the executable as an absolute path.
        member: the package of the workspace that it belongs to, or None.
    """

    command: tuple[str, ...]
    member: Member | None = None

    def make_ready(self, tell: Tell = lambda line: None) -> None:
        """Bring the environment of a workspace's program up to date; quick if it is so already.

        Args:
            tell: is called with what is done meanwhile, in words: the first time this is a download of minutes.

        Raises:
            ProgramError: uv is not there, or could not do it.
        """
        if self.member is None:
            return
        result = self.member.sync(tell=lambda line: tell(line) if line.startswith(_NEWS) else None)
        if result.returncode:
            raise ProgramError(
                f"the environment of {self.member.distribution} could not be made in {self.member.environment}; if this"
                f" machine is offline, run this once while it is not: {self.member.sync_by_hand}\n"
                f"{result.stderr.strip()}"
            )


def find_uv() -> str | None:
    """Path of uv; `uv run` says where it is itself."""
    return os.environ.get("UV") or shutil.which("uv")


def find_program(command: Sequence[str]) -> Program:
    """The program of a command line.

    Raises:
        ProgramError: there is none of that name.
    """
    name, *arguments = command
    if member := _scripts().get(name):
        return Program(command=(str(member.environment / "bin" / name), *arguments), member=member)
    beside = Path(sys.executable).parent  # programs that are installed together with this one
    found = shutil.which(name) or shutil.which(name, path=str(beside))
    if found is None:
        known = f"; programs of this workspace are {', '.join(_scripts())}" if _scripts() else ""
        raise ProgramError(f"no program {name!r} on the PATH{known}")
    return Program(command=(os.path.abspath(found), *arguments))


@cache
def _scripts() -> Mapping[str, Member]:
    """Members of the workspace that this package is used from, by their console scripts; none if it is installed."""
    root = _workspace()
    scripts: dict[str, Member] = {}
    for path in sorted(root.glob("packages/*/pyproject.toml")) if root else ():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        member = Member(folder=path.parent, distribution=project["name"], version=project.get("version", ""))
        scripts |= dict.fromkeys(project.get("scripts", ()), member)
    return scripts


def _workspace() -> Path | None:
    for folder in Path(__file__).resolve().parents:
        if (folder / "uv.lock").is_file() and (folder / "packages").is_dir():
            return folder
    return None


def _without_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
