"""The command line `fusion-core`: all commands; user errors are one line and exit code 2."""

from typing import Annotated, Any

from program_kit.app import CommandGroup, plain_app, user_errors, version_option
from program_kit.distributions import version_of
from rvos_evaluation.errors import EvaluationError

from fusion_core.commands import (
    dataset,
    demo,
    doctor,
    evaluate,
    export,
    fuse,
    import_masks,
    recipe,
    report,
    segment,
    show,
    submission,
    view,
    weights,
)
from fusion_core.errors import FusionCoreError

COMMANDS = {
    "demo": demo.demo,
    "recipe": recipe.recipe,
    "plan": recipe.plan,
    "run": recipe.run,
    "segment": segment.segment,
    "import": import_masks.import_masks,
    "export": export.export,
    "fuse": fuse.fuse,
    "show": show.show,
    "evaluate": evaluate.evaluate,
    "report": report.report,
    "view": view.view,
    "submit": submission.submit,
    "check-submission": submission.check_submission,
    "check-dataset": dataset.check_dataset,
    "convert-dataset": dataset.convert_dataset,
    "doctor": doctor.doctor,
}


class _Commands(CommandGroup):
    """Commands whose user errors are shown without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with user_errors("fusion-core", FusionCoreError, EvaluationError):
            return super().invoke(ctx)


app = plain_app(
    cls=_Commands,
    help="Vote over the masks of many models, score the result and write submissions.",
    no_args_is_help=True,
)


@app.callback()
def _shared(
    show_version: Annotated[bool, version_option("fusion-core", version_of("fusion-core"))] = False,
) -> None:
    pass


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(weights.weights, name="weights")


def main() -> None:
    """Entry point of the console script `fusion-core`."""
    app()
