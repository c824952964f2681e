"""What every command line begins with: an application with plain help, and the user's errors in one line.

Exit codes: 0 done; 1 some videos failed, or the disk is full; 2 wrong use; 130 interrupted.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from mask_interchange.errors import MaskInterchangeError

from program_kit.errors import ProgramKitError


def plain_app(**settings: object) -> typer.Typer:
    """A typer application with plain help and errors: quick to show, easy to read in a log."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        **settings,  # pyright: ignore[reportArgumentType] - keyword arguments of typer.Typer
    )


@contextmanager
def user_errors(name: str, *errors: type[Exception]) -> Iterator[None]:
    """End the program `name` with one line and exit code 2 on user errors, with 130 on Ctrl-C."""
    try:
        yield
    except (MaskInterchangeError, ProgramKitError, OSError, *errors) as error:
        typer.echo(f"{name}: error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        typer.echo(f"{name}: interrupted; finished videos are kept, the same command continues", err=True)
        raise typer.Exit(130) from interrupt
