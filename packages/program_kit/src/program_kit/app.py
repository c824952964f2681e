"""What every command line begins with: an application with plain help, and the user's errors in one line.

Every command has `--quiet`, `--verbose` and `--log-json`, which say what `messages` shows.

Programs whose weights are published in other forms than theirs also have `checkpoint convert`.

Exit codes: 0 done; 1 some videos failed, or the disk is full; 2 wrong use; 130 interrupted.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from mask_interchange.errors import MaskInterchangeError
from mask_interchange.files import is_disk_full
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

from program_kit import messages
from program_kit.errors import ProgramKitError
from program_kit.messages import log
from program_kit.weights import known_config


class _RestoresMessages:
    """What a command has chosen for messages ends with it; of groups and their commands, with the outermost one."""

    def main(self, *arguments: Any, **settings: Any) -> Any:
        with messages.restored():
            return super().main(*arguments, **settings)  # pyright: ignore[reportAttributeAccessIssue] - a mixin


class Command(_RestoresMessages, TyperCommand):
    """A command of a `plain_app`."""


class CommandGroup(_RestoresMessages, TyperGroup):
    """A group of commands of a `plain_app`."""


class _PlainApp(typer.Typer):
    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        add = super().command(name, **{"cls": Command, **settings})
        return lambda command: add(_with_message_options(command))

    def callback(self, **settings: Any) -> Callable[[Any], Any]:
        add = super().callback(**settings)
        return lambda command: add(_with_message_options(command))


def plain_app(*, cls: type[CommandGroup] = CommandGroup, **settings: Any) -> typer.Typer:
    """A typer application with plain help and errors: quick to show, easy to read in a log."""
    return _PlainApp(cls=cls, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)


_MESSAGE_OPTIONS = {
    "quiet": typer.Option("--quiet", help="Say only what goes wrong."),
    "verbose": typer.Option("--verbose", help="Say details, too, and where errors come from."),
    "log_json": typer.Option("--log-json", help="Messages as JSON lines (on standard error)."),
}


def _with_message_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options `--quiet`, `--verbose` and `--log-json`, which it never sees."""

    @wraps(command)
    def with_messages(**values: Any) -> None:
        messages.choose(**{name: values.pop(name) for name in _MESSAGE_OPTIONS})
        command(**values)

    signature = inspect.signature(command)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in _MESSAGE_OPTIONS.items()
    ]
    with_messages.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[*signature.parameters.values(), *options]
    )
    return with_messages


def version_option(name: str, version: str) -> OptionInfo:
    """The option `--version` of a program: it prints name and version, and nothing else happens.

    Args:
        name: of the command.
        version: of its package.
    """

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {version}")
            raise typer.Exit

    return typer.Option("--version", is_eager=True, callback=show, help="Print the version.")


@contextmanager
def user_errors(
    name: str, *errors: type[Exception], continues: str = "what is finished is kept, the same command continues"
) -> Iterator[None]:
    """End a program with one line: exit code 2 on user errors, 1 if the disk is full, 130 on Ctrl-C.

    Args:
        name: of the program.
        errors: user errors, besides those of this package and of `mask_interchange`.
        continues: what is kept after Ctrl-C, and how to go on.
    """
    try:
        yield
    except (MaskInterchangeError, ProgramKitError, OSError, *errors) as error:
        if is_disk_full(error):
            what = f"{error.filename} ({error.strerror})" if isinstance(error, OSError) and error.filename else error
            log.error(f"{name}: error: the disk is full: {what}; make room, then give the same command again")
            raise typer.Exit(1) from error
        log.error(f"{name}: error: {error}")
        log.debug("where it comes from:", exc_info=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        log.error(f"{name}: interrupted; {continues}")
        raise typer.Exit(130) from interrupt


class ProgramWithWeights(Protocol):
    """What `checkpoint convert` must know of a program; see `SegmenterProgram` and `PropagatorProgram`."""

    @property
    def name(self) -> str:
        """Of its command."""
        ...

    @property
    def configs(self) -> tuple[str, ...]:
        """Names of its configurations, the default first."""
        ...

    @property
    def error(self) -> type[Exception]:
        """Base of its user errors."""
        ...

    @property
    def convert(self) -> Callable[[Path, Path, str], None] | None:
        """Write a published checkpoint (source) of a configuration as safetensors (target); None if none needs it."""
        ...


def add_checkpoint_commands(app: typer.Typer, program: ProgramWithWeights, config_option: OptionInfo) -> None:
    """Add the command `checkpoint convert` of a program that converts."""
    convert_checkpoint = program.convert
    if convert_checkpoint is None:
        return
    checkpoint_app = plain_app(help="Checkpoint files.", no_args_is_help=True)
    app.add_typer(checkpoint_app, name="checkpoint")

    @checkpoint_app.command("convert")
    def convert(
        source: Annotated[Path, typer.Argument(help="Published checkpoint file.")],
        target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
        config: Annotated[str | None, config_option] = None,
    ) -> None:
        """Write a published checkpoint as safetensors with this program's names."""
        with user_errors(program.name, program.error):
            convert_checkpoint(source, target, known_config(program.configs, config or program.configs[0]))
