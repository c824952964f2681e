"""The Dockerfile, as far as it can be tested without Docker."""

import os
import re
import subprocess

from tests.members import MEMBERS, ROOT, settings

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_has_the_environment_of_every_program():
    (names,) = re.findall(r"for package in ([\w ]+);", TEXT)
    programs = {member.name for member in MEMBERS if settings(member)["project"].get("scripts")}
    assert set(names.split()) == programs - {"fusion_core", "demo_weights"}  # in the root environment; a tool


def test_environments_of_the_host_are_not_copied():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".venv", ".venvs"} <= set(ignored), "they do not run in the image"


def test_its_environments_can_be_made(tmp_path):
    """The command as the image runs it, but nothing is installed, and the environments are elsewhere."""
    (command,) = re.findall(r"^RUN (uv sync.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    command = command.replace("\\\n", " ").replace("&& uv cache clean", "").replace("uv sync", "uv sync --dry-run")
    command = command.replace(".venvs/", f"{tmp_path}/")
    environment = {**os.environ, "UV_FROZEN": "1", "UV_PROJECT_ENVIRONMENT": str(tmp_path / "root")}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for program in ("typer", "soc", "uninext", "cutie"):
        assert re.search(rf"^ \+ {program}(==| @ )", done.stderr, re.MULTILINE), program
