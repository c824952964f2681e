"""The Dockerfile, as far as it can be tested without Docker."""

import re

from tests.members import MEMBERS, ROOT, settings

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_has_the_environment_of_every_program():
    (names,) = re.findall(r"for package in ([\w ]+);", TEXT)
    programs = {member.name for member in MEMBERS if settings(member)["project"].get("scripts")}
    assert set(names.split()) == programs - {"fusion_core", "demo_weights"}  # in the root environment; a tool


def test_environments_of_the_host_are_not_copied():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".venv", ".venvs"} <= set(ignored), "they do not run in the image"
