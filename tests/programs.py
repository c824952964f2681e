"""The workspace's programs, each in its own environment."""

import json
import os
import re
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
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

    def run_forked(self, *arguments: object, stdin: str = "", cwd: Path | None = None):
        """As `run`, in a fork of a process that has imported the program; not for tests of how it starts."""
        command = self.command(*arguments)
        with tempfile.TemporaryDirectory() as folder:
            files = {stream: Path(folder) / stream for stream in ("stdin", "stdout", "stderr")}
            for stream, path in files.items():
                path.write_text(stdin if stream == "stdin" else "", encoding="utf-8")
            call = {stream: str(path) for stream, path in files.items()}
            call |= {"arguments": command[1:], "folder": str(cwd or Path.cwd())}
            server = _forking(self)
            server.stdin.write(json.dumps(call) + "\n")
            server.stdin.flush()
            code = server.stdout.readline()
            assert code, f"{self} cannot be imported"
            said = {stream: files[stream].read_text(encoding="utf-8") for stream in ("stdout", "stderr")}
        return subprocess.CompletedProcess(command, int(code), **said)

    def __str__(self) -> str:
        return self.name


@cache
def _forking(program: Program) -> subprocess.Popen[str]:
    """The process that forks for a program; it ends with this one, which closes its input."""
    command = [str(program.python), str(Path(__file__).with_name("forking.py")), program.name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean())


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
