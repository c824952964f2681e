"""The command line as a whole."""

import subprocess
import sys
from importlib.metadata import version

from fusion_core.cli import COMMANDS, app
from typer.testing import CliRunner

HEAVY = ("av", "cv2", "jinja2", "psutil", "ray", "rich", "scipy", "tree_sitter")


def test_help_names_every_command():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


def test_the_version_is_that_of_the_package():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"fusion-core {version('fusion-core')}\n")


def test_every_command_has_help():
    for command in COMMANDS:
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0, command
        assert "Usage:" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from fusion_core.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"sys.exit(', '.join(name for name in {HEAVY} if name in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
