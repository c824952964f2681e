"""Every command line in the documentation names packages, programs, commands and options that there are."""

import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.members import MEMBERS, ROOT, TOOLS, own_name, settings

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(page for pattern in ("docs/**/*.md", "*/*/README.md") for page in ROOT.glob(pattern))
OF_THE_ROOT = {"fusion-core", "nox", "pytest", "python", "ruff"}  # what the root environment has


def lines(page: Path) -> list[str]:
    """Command lines of uv in blocks and in sentences."""
    text = re.sub(r"\\\n\s*", " ", page.read_text("utf-8"))
    found = re.findall(r"^\s*(?:[A-Z_]+=\S+ )*(uv run [^#\n]+)|`(?:[A-Z_]+=\S+ )*(uv run [^`]+)`", text, re.M)
    return sorted({" ".join((block or sentence).split()) for block, sentence in found})


COMMANDS = [(page, line) for page in PAGES for line in lines(page)]


def parsed(line: str) -> tuple[dict[str, str], list[str]]:
    """Options of `uv run` with their values, and the words that follow: a program and its arguments."""
    options, words = {}, shlex.split(line)[2:]
    while words and words[0].startswith("--"):
        name, words = words[0], words[1:]
        options[name] = ""
        if name in {"--package", "--extra", "--group"}:
            options[name], words = words[0], words[1:]
    return options, words


@cache
def help_of(executable: Path, *commands: str) -> str:
    assert executable.exists(), f"{executable} is missing: `uv run nox -s fresh` makes it"
    environment = os.environ | {"COLUMNS": "200"}
    asked = subprocess.run([executable, *commands, "--help"], capture_output=True, text=True, env=environment)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout


def asked_commands(executable: Path, arguments: list[str]) -> list[str]:
    """The commands at the beginning of arguments: `checkpoint convert` of `soc-infer checkpoint convert a b`."""
    commands: list[str] = []
    for word in arguments:
        there = help_of(executable, *commands).partition("Commands:")[2]
        if not there or word.startswith("-"):
            break
        assert re.search(rf"^  {re.escape(word)}( |$)", there, re.MULTILINE), f"{executable.name} has no command {word}"
        commands.append(word)
    return commands


def test_the_pages_have_commands():
    assert len(COMMANDS) > 50


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS, ids=lambda one: str(one.relative_to(ROOT)) if isinstance(one, Path) else one
)
def test_a_command_is_there_with_its_options(page, line):
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "uv run fusion-core submit runs/x --no-such-option",
        "uv run fusion-core no-such-command",
        "uv run no-such-program",
        "uv run --package fusion-core --extra no-such-extra fusion-core run",
        "uv run python tools/no_such_tool.py",
    ],
)
def test_a_wrong_command_is_noticed(line):
    with pytest.raises((AssertionError, KeyError)):
        check(line)


def check(line: str) -> None:
    """Compare a command line with project files and with what the program says of itself."""
    options, (program, *arguments) = parsed(line)
    members = {own_name(member): member for member in (*MEMBERS, *TOOLS)}
    if "--all-packages" in options:
        member = next(one for one in members.values() if program in settings(one)["project"].get("scripts", {}))
    else:
        member = members[options.get("--package", "fusion-core")]
    if extra := options.get("--extra"):
        assert extra in settings(member)["project"]["optional-dependencies"]
    if program in settings(member)["project"].get("scripts", {}):
        executable = ROOT / ".venvs" / member.name / "bin" / program
        shown = help_of(executable, *asked_commands(executable, arguments))
        for option in (word.partition("=")[0] for word in arguments if re.match(r"--?[a-zA-Z]", word)):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown), f"{program} has no {option}"
    else:
        assert program in OF_THE_ROOT or "--package" in options
        scripts = [Path(word) for word in arguments if word.endswith(".py")]
        assert all((ROOT / script).is_file() for script in scripts)
