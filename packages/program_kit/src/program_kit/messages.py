"""What programs say beside their results: lines on standard error for people, or JSON lines for other programs.

All of it goes through `log`, whose level follows from `--quiet` (warnings and errors) and `--verbose` (also details).
"""

import json
import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

import typer

log = logging.getLogger("rvos_fusion")

SHOWN = 5  # of a list in a message


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and what `about` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a message."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        tree = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            tree["traceback"] = self.formatException(record.exc_info)
        return json.dumps(tree | getattr(record, "about", {}))


class _StandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


_handler = _StandardError()
log.addHandler(_handler)
log.setLevel(logging.INFO)
log.propagate = False


def some(names: Collection[object]) -> str:
    """The first few of a list, for a message."""
    return ", ".join(map(str, islice(names, SHOWN))) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def about(**values: object) -> dict[str, object]:
    """The argument `extra` of a message: values that JSON lines hold beside its words."""
    return {"about": values}


def choose(*, quiet: bool, verbose: bool, log_json: bool) -> None:
    """Say less, say more, say it in JSON lines; what is not chosen stays.

    Raises:
        typer.BadParameter: less and more at the same time.
    """
    if quiet and verbose:
        raise typer.BadParameter("give either --quiet or --verbose")
    if quiet or verbose:
        log.setLevel(logging.WARNING if quiet else logging.DEBUG)
    if log_json:
        _handler.setFormatter(JsonLines())


def is_json() -> bool:
    """Whether messages are JSON lines."""
    return _handler.formatter is not None


def draws_bars() -> bool:
    """Whether bars and live tables may be shown: people look on, and have not asked for quiet."""
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO) and not is_json()


@contextmanager
def restored() -> Iterator[None]:
    """Context manager after which messages are said as before."""
    level, formatter = log.level, _handler.formatter
    try:
        yield
    finally:
        log.setLevel(level)
        _handler.setFormatter(formatter)
