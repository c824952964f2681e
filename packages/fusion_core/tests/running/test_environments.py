"""Programs are found where they are, and an environment that cannot be made is told."""

import os
import stat
from pathlib import Path

import pytest
from fusion_core.errors import ProgramError
from fusion_core.recipe.published import ICCV2023
from fusion_core.running import environments
from fusion_core.running.environments import Program, WorkspacePackage, find_program


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


def test_outside_a_checkout_programs_are_those_on_the_path(monkeypatch):
    monkeypatch.setattr(environments, "_packages_by_script", dict)
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
    assert told == ["Creating virtual environment", "Downloading torch (800MiB)"]
