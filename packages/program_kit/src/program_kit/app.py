"""What every command line begins with: an application with plain help, and the user's errors in one line.

Programs whose weights are published in other forms than theirs also have `checkpoint convert`.

Exit codes: 0 done; 1 some videos failed, or the disk is full; 2 wrong use; 130 interrupted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import typer
from mask_interchange.errors import MaskInterchangeError
from mask_interchange.files import is_disk_full
from typer.models import OptionInfo

from program_kit.errors import ProgramKitError
from program_kit.weights import known_config


def plain_app(**settings: object) -> typer.Typer:
    """A typer application with plain help and errors: quick to show, easy to read in a log."""
    return typer.Typer(
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        **settings,  # pyright: ignore[reportArgumentType] - keyword arguments of typer.Typer
    )


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
    name: str, *errors: type[Exception], continues: str = "finished videos are kept, the same command continues"
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
            typer.echo(
                f"{name}: error: the disk is full: {what}; make room, then give the same command again", err=True
            )
            raise typer.Exit(1) from error
        typer.echo(f"{name}: error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        typer.echo(f"{name}: interrupted; {continues}", err=True)
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
