"""The command line `fusion-core`: joins the commands and turns expected errors into one line and an exit code."""

import importlib
import importlib.util

import typer

# command name -> "module of fusion_core.commands":function
COMMANDS = {
    "import": "convert:import_masks",
    "export": "convert:export_masks",
    "fuse": "fuse:fuse",
    "evaluate": "evaluate:evaluate",
    "submit": "submission:submit",
    "check-submission": "submission:check_submission",
    "check-dataset": "dataset:check_dataset",
    "demo": "demo:demo",
}

app = typer.Typer(
    help="Vote over the masks of many models, score the result and write submissions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _target in COMMANDS.items():
    _module, _function = _target.split(":")
    if importlib.util.find_spec(f"fusion_core.commands.{_module}"):  # until every command is written
        app.command(_name)(getattr(importlib.import_module(f"fusion_core.commands.{_module}"), _function))


def main() -> None:
    """Entry point of the console script `fusion-core`."""
    app()
