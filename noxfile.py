"""Every package's tests in its own exact environment, then the checks that look at all of them together.

`uv run nox` runs everything; `uv run nox -s soc` one package; `uv run nox -l` lists the sessions.
"""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nox

ROOT = Path(__file__).parent
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
MEMBERS = sorted(path.parent for pattern in WORKSPACE for path in ROOT.glob(f"{pattern}/pyproject.toml"))
EXAMPLE = ROOT / "examples" / "member"  # outside the workspace, with a lock file of its own
OPENED_BY = ROOT / "tests" / "opened_by"  # the same; its libraries exclude those of the workspace
TESTED = [member for member in MEMBERS if any((member / "tests").rglob("test_*.py"))]
SYNCED: set[Path] = set()  # members whose environments this process has made
AT_A_TIME = 2  # members; each has its share of the cores, and a few GB of memory at full size

nox.options.default_venv_backend = "none"  # uv makes the environments, one a package
nox.options.error_on_missing_interpreters = True


def settings(member: Path) -> dict:
    """The `pyproject.toml` of a workspace member."""
    return tomllib.loads((member / "pyproject.toml").read_text())


def project(member: Path) -> dict:
    """The `[project]` table of a workspace member."""
    return settings(member)["project"]


def test_tools(member: Path) -> list[str]:
    """What the tests of a workspace member need besides its own requirements."""
    return settings(member).get("dependency-groups", {}).get("test", [])


def environment(member: Path) -> dict[str, str]:
    """Variables under which uv works in the member's own environment."""
    return {"UV_PROJECT_ENVIRONMENT": str(ROOT / ".venvs" / member.name)}


def sync(session: nox.Session, member: Path) -> None:
    """Install exactly what the lock file says this member, its extras and its tests need, and nothing else; once."""
    if member in SYNCED:
        return
    SYNCED.add(member)
    names = [project(member)["name"], *settings(member).get("tool", {}).get("rvos-fusion", {}).get("tested-with", [])]
    session.run(
        "uv",
        "sync",
        "--locked",
        "--exact",
        "--quiet",
        "--all-extras",
        *(["--group", "test"] if test_tools(member) else []),
        *(f"--package={name}" for name in names),
        env=environment(member),
    )


def in_environment(member: Path, *command: str) -> list[str]:
    """The command line that runs a command in the member's environment as it stands."""
    return ["uv", "run", "--no-sync", "--package", project(member)["name"], *command]


def for_each(session: nox.Session, members: Sequence[Path], command: Callable[[Path], list[str]]) -> None:
    """Run a command for every member, some at a time; what each says is shown when it has ended."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // AT_A_TIME))}

    def run(member: Path) -> subprocess.CompletedProcess[str]:
        variables = os.environ | environment(member) | threads
        return subprocess.run(
            command(member), env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    failed = []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running = {pool.submit(run, member): member for member in members}
        try:
            for future in as_completed(running):
                name, result = running[future].name, future.result()
                print(f"\n{name}: exit code {result.returncode}\n{result.stdout}", flush=True)
                failed += [name] if result.returncode else []
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing more is begun
    if failed:
        session.error(f"failed: {', '.join(sorted(failed))}")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and up-to-date lock files."""
    for folder in (ROOT, EXAMPLE, OPENED_BY):
        session.run("uv", "lock", "--check", "--quiet", "--project", str(folder))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


def in_parallel(member: Path) -> list[str]:
    """Options of pytest: a process a core for members that test with pytest-xdist; a file's tests stay together."""
    is_wanted = any(tool.startswith("pytest-xdist") for tool in test_tools(member))
    return ["-n", "auto", "--dist", "loadfile"] if is_wanted else []


def suite(member: Path) -> list[str]:
    """The command line of a member's tests."""
    return in_environment(member, "pytest", *in_parallel(member), str(member / "tests"))


def _package_session(member: Path) -> None:
    @nox.session(name=member.name, default=False)
    def package(session: nox.Session) -> None:
        sync(session, member)
        session.run(*suite(member), *session.posargs, env=environment(member))


for _member in TESTED:
    _package_session(_member)


@nox.session
def packages(session: nox.Session) -> None:
    """The tests of all packages, those of programs first, which take longest."""
    for member in TESTED:
        sync(session, member)
    in_order = sorted(TESTED, key=lambda member: not project(member).get("scripts"))
    for_each(session, in_order, lambda member: [*suite(member), *session.posargs])


@nox.session
def types(session: nox.Session) -> None:
    """Static types of every package against the libraries of its own environment."""
    checked = [member for member in MEMBERS if (member / "src").exists()]  # detectron2 only builds another distribution
    for member in checked:
        sync(session, member)

    session.run("uv", "sync", "--locked", "--inexact", "--quiet", "--group", "types")
    checker = Path(sys.executable).with_name("basedpyright")

    def check(member: Path) -> list[str]:
        python = ROOT / ".venvs" / member.name / "bin" / "python"
        return [str(checker), "--level", "error", "--pythonpath", str(python), str(member / "src")]

    for_each(session, checked, check)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in `site/`, where a broken link is an error; the Dockerfile."""
    session.run("uv", "sync", "--locked", "--inexact", "--quiet", "--group", "docs")
    session.run("python", "tools/api_page.py")
    session.run("zensical", "build", "--strict", "--clean")
    session.run("hadolint", "Dockerfile")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def isolation(session: nox.Session) -> None:
    """Every package imports only what it declares: by syntax tree, and by importing it alone."""
    session.run("pytest", "-n", "auto", "--dist", "worksteal", "tests/isolation", *session.posargs)


@nox.session
def contracts(session: nox.Session) -> None:
    """Every program of the workspace keeps the command line, run and worker contract."""
    for member in MEMBERS:
        if project(member).get("scripts"):
            sync(session, member)
    session.run("pytest", "-n", "auto", "tests/contracts", *session.posargs)


@nox.session
def pipeline(session: nox.Session) -> None:
    """Programs, votes, scores and submission together, through the commands that a user types."""
    for member in MEMBERS:
        if project(member).get("scripts"):
            sync(session, member)
    session.run("pytest", "-n", "auto", "--dist", "loadfile", "tests/pipeline", *session.posargs)


@nox.session
def opened_by(session: nox.Session) -> None:
    """Exports, opened by FiftyOne and datumaro in an environment of their own."""
    sync(session, ROOT / "packages" / "fusion_core")
    tools = ["uv", "run", "--locked", "--quiet", "--project", str(OPENED_BY)]
    tests = ["pytest", "-p", "no:warnings", str(OPENED_BY), *session.posargs]
    session.run(*tools, *tests, env=environment(OPENED_BY))


@nox.session
def gpu(session: nox.Session) -> None:
    """The script for a GPU machine, on the processor, in the environment that has all models."""
    member = ROOT / "tools" / "demo_weights"
    sync(session, member)
    session.run(*in_environment(member, "pytest", str(ROOT / "tools" / "gpu")), env=environment(member))


@nox.session(default=False)
def fresh(session: nox.Session) -> None:
    """What can be tried of a fresh machine: the lock with the newest Python, wheels, commands of the documentation."""
    for member in MEMBERS:
        if project(member).get("scripts"):
            sync(session, member)
    session.run("pytest", "tests/fresh", *session.posargs)


@nox.session(default=False)
def wheel(session: nox.Session) -> None:
    """The release wheel of msda-ops, with CUDA kernels for all GPUs, and a look inside."""
    member, out = ROOT / "packages" / "msda_ops", ROOT / "dist" / "msda_ops"
    shutil.rmtree(out, ignore_errors=True)
    session.run("uv", "build", "--wheel", f"--out-dir={out}", str(member), env={"MSDA_OPS_BUILD": "cuda"})
    (built,) = out.glob("*.whl")
    sync(session, member)
    look = in_environment(member, "pytest", str(member / "tests" / "test_build.py"), "-k", "release_wheel")
    session.run(*look, env=environment(member) | {"MSDA_OPS_WHEEL": str(built)})
    session.log(f"built {built}")


@nox.session(default=False)
def published(session: nox.Session) -> None:
    """All wheels under the names that they have on an index, installed outside the checkout, and commands there."""
    session.run("pytest", "tests/published", *session.posargs)


@nox.session(default=False)
def clean(session: nox.Session) -> None:
    """Remove the packages' environments."""
    shutil.rmtree(ROOT / ".venvs", ignore_errors=True)
    session.log(f"removed {ROOT / '.venvs'}")


# A shell lets its background jobs ignore Ctrl-C, and tests that interrupt a program would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs are started many times: compile torch once
os.environ.pop("VIRTUAL_ENV", None)  # set by `uv run nox`; uv would warn that it is not the package's environment
