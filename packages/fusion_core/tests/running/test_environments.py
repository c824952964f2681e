"""Programs are found where they are, and an environment that cannot be made is told."""

import os
import stat
import sys
from pathlib import Path

import pytest
from fusion_core.errors import ProgramError
from fusion_core.recipe.published import ICCV2023
from fusion_core.running import environments
from fusion_core.running.environments import Program, WorkspacePackage, find_program
from fusion_core.running.worker import JobError, ProgramTask
from program_kit import messages


def executable(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_programs_of_the_published_recipe_are_those_of_the_workspace():
    for model in ICCV2023.models:
        program = find_program(model.program)
        assert program.package is not None
        assert program.command[0].endswith(f".venvs/{program.package.folder.name}/bin/{model.program[0]}")
        assert program.package.version


def test_any_other_program_is_looked_up(tmp_path, monkeypatch):
    executable(tmp_path / "mine", "true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_program(["mine", "--fast"]) == Program(command=(str(tmp_path / "mine"), "--fast"))
    assert find_program([str(tmp_path / "mine")]).command == (str(tmp_path / "mine"),)
    find_program(["mine"]).make_ready()
    with pytest.raises(
        ProgramError, match=r"no program 'theirs' on the PATH; programs of this workspace are .*soc-infer"
    ):
        find_program(["theirs"])


def test_outside_a_checkout_programs_are_those_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "_packages_by_script", dict)
    monkeypatch.setenv("PATH", str(tmp_path))  # `uv run --package soc` puts `soc-infer` beside nox
    with pytest.raises(ProgramError, match=r"no program 'soc-infer' on the PATH$"):
        find_program(["soc-infer"])
    assert Path(find_program(["fusion-core"]).command[0]).name == "fusion-core"  # installed beside this one


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "packages" / "some"
    folder.mkdir(parents=True)
    return WorkspacePackage(folder=folder, distribution="some", version="1")


def test_an_environment_is_made_by_uv_in_a_place_of_its_own(tmp_path, package, monkeypatch):
    uv = executable(tmp_path / "uv", f'echo "$UV_PROJECT_ENVIRONMENT ${{VIRTUAL_ENV:-none}} $@" > {tmp_path}/said')
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    Program(command=("x",), package=package).make_ready()
    environment, active, *arguments = (tmp_path / "said").read_text().split()
    assert Path(environment) == tmp_path / ".venvs" / "some"
    assert active == "none"
    assert arguments == ["sync", "--frozen", "--inexact", "--no-default-groups", "--package", "some"]


def test_an_environment_that_cannot_be_made_is_told(tmp_path, package, monkeypatch):
    monkeypatch.setenv("UV", str(executable(tmp_path / "uv", "echo no network >&2; exit 2")))
    with pytest.raises(ProgramError, match=r"environment of some could not be made in .*some; if(.|\n)*no network"):
        Program(command=("x",), package=package).make_ready()
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ProgramError, match="is made by uv, which is not on the PATH"):
        Program(command=("x",), package=package).make_ready()


def test_what_uv_does_for_minutes_is_told_and_what_it_always_says_is_not(tmp_path, package, monkeypatch):
    said = [
        "Creating virtual environment",
        "Resolved 9 packages",
        " Downloading torch (800MiB)",
        " + torch==2",
        "error: no",
    ]
    monkeypatch.setenv("UV", str(executable(tmp_path / "uv", "\n".join(f"echo '{line}' >&2" for line in said))))
    told = []
    Program(command=("x",), package=package).make_ready(told.append)
    assert told == [
        "making the environment of some: up to 3 GB to download and 6 GB of disk, of which environments share most",
        "Creating virtual environment",
        "Downloading torch (800MiB)",
    ]
    (package.environment).mkdir(parents=True)
    (package.environment / "pyvenv.cfg").touch()
    Program(command=("x",), package=package).make_ready(told.append)
    assert len(told) == 5, "an environment that is there is not made"


def test_commands_are_where_the_system_has_them(package, monkeypatch):
    assert package.script("soc-infer") == package.environment / "bin" / "soc-infer"
    monkeypatch.setattr("sysconfig.get_path", lambda name, scheme, given: str(Path(given["base"]) / "Scripts"))
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: ".exe")
    assert package.script("soc-infer") == package.environment / "Scripts" / "soc-infer.exe"


def test_all_that_uv_says_is_a_detail(tmp_path, package, monkeypatch, capsys):
    monkeypatch.setenv("UV", str(executable(tmp_path / "uv", "echo Resolved 9 packages >&2")))
    with messages.restored():
        messages.choose(quiet=False, verbose=True, log_json=False)
        Program(command=("x",), package=package).make_ready()
    assert "Resolved 9 packages\n" in capsys.readouterr().err


def test_where_programs_cannot_be_waited_for_it_is_said(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.delattr("select.poll")
    with pytest.raises(JobError, match="on Windows use WSL"):
        ProgramTask(command=(sys.executable,), log=tmp_path / "log").start({})
