"""The workspace's programs, each in its own environment."""

import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE_ARGUMENTS = ["--config", "tiny", "--weights", "random:0"]


@dataclass(frozen=True)
class Program:
    """A console script of a workspace member and the environment it runs in.

    `demos` are the configurations that its package ships weights for; none for a package that declares so.
    """

    name: str
    member: Path
    smoke: tuple[str, ...]
    demos: tuple[str, ...] = ("demo",)

    @property
    def executable(self) -> Path:
        return ROOT / ".venvs" / self.member.name / "bin" / self.name

    @property
    def python(self) -> Path:
        return self.executable.with_name("python")

    @property
    def networks(self) -> dict[str, Path]:
        """The weights that its package ships for it by configuration, the default first: `demo.safetensors`, or
        `demo_aot.safetensors` where programs share a package."""
        stems = {config: config.replace("-", "_") for config in self.demos}
        files = {config: (stem, f"{stem}_{self.name.split('-')[0]}") for config, stem in stems.items()}
        return {
            config: path
            for config, names in files.items()
            for name in names
            for path in self.member.glob(f"src/*/{name}.safetensors")
        }

    def command(self, *arguments: object) -> list[str]:
        assert self.executable.exists(), f"{self.executable} is missing: `uv run nox -s contracts` makes it"
        return [str(self.executable), *map(str, arguments)]

    def run(self, *arguments: object, stdin: str | None = None, cwd: Path | None = None, timeout: float = 900):
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=timeout,
            env=clean(),
        )

    def __str__(self) -> str:
        return self.name


def clean() -> dict[str, str]:
    """The caller's variables without those that would change what a program does."""
    return {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"} | {
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


def programs(suffix: str) -> list[Program]:
    """Every console script of the workspace whose name ends with `suffix`, found in the members' project files."""
    found = []
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        settings = tomllib.loads(path.read_text())
        own = settings.get("tool", {}).get("rvos-fusion", {})
        smoke, demos = own.get("smoke-arguments", SMOKE_ARGUMENTS), own.get("demo-configs", ["demo"])
        found += [
            Program(name, path.parent, tuple(smoke), tuple(demos))
            for name in settings["project"].get("scripts", {})
            if re.search(f"{suffix}$", name)
        ]
    return found


def assert_a_choice_is_asked_for(result: subprocess.CompletedProcess[str]) -> None:
    """A call without weights ended by naming the options that choose them."""
    assert result.returncode == 2, result.stderr
    assert "--checkpoint" in result.stderr
    assert "--weights" in result.stderr
