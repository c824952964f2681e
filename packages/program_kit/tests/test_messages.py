"""What programs say: less, more, and in JSON lines."""

import json
import logging
import sys
from typing import Annotated

import pytest
import typer
from program_kit import messages
from program_kit.app import plain_app, user_errors
from program_kit.errors import InputError
from program_kit.messages import about, log
from program_kit.progress import Pace, ProgressLines, columns, duration
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

app = plain_app()


@app.callback()
def group() -> None:
    pass


@app.command()
def work(count: Annotated[int, typer.Option()] = 1, broken: bool = False) -> None:
    """Say something of every kind."""
    with user_errors("example"):
        log.debug("a detail")
        log.info("begun", extra=about(video="v", done=count))
        log.warning("note: odd")
        typer.echo("the result")
        if broken:
            raise InputError("a bad frame")


def call(*arguments: str):
    result = CliRunner().invoke(app, arguments)
    assert (log.level, messages.is_json()) == (logging.INFO, False), "what a command chooses ends with it"
    return result


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "begun\nnote: odd\n"),
        (["--quiet"], "note: odd\n"),
        (["--verbose"], "a detail\nbegun\nnote: odd\n"),
    ],
)
def test_less_and_more(options, said):
    for arguments in ([*options, "work"], ["work", *options]):
        result = call(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "the result\n", said)


def test_errors_are_always_said_and_explained_when_asked_for():
    assert call("work", "--broken", "--quiet").stderr == "note: odd\nexample: error: a bad frame\n"
    said = call("work", "--broken", "--verbose").stderr
    assert "Traceback (most recent call last)" in said
    assert "raise InputError" in said


def test_json_lines():
    result = call("work", "--count", "3", "--broken", "--log-json", "--verbose")
    assert (result.exit_code, result.stdout) == (2, "the result\n")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("debug", "a detail"),
        ("info", "begun"),
        ("warning", "note: odd"),
        ("error", "example: error: a bad frame"),
        ("debug", "where it comes from:"),
    ]
    assert (lines[1]["video"], lines[1]["done"]) == ("v", 3)
    assert "InputError" in lines[-1]["traceback"]
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_less_and_more_at_once_is_wrong_use():
    result = call("work", "--quiet", "--verbose")
    assert result.exit_code == 2
    assert "give either --quiet or --verbose" in result.stderr


def test_every_command_has_the_options():
    for arguments in (["--help"], ["work", "--help"]):
        for option in ("--quiet", "--verbose", "--log-json"):
            assert option in call(*arguments).stdout


def test_bars_are_for_people_who_look_on(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert messages.draws_bars()
    for chosen in ("quiet", "log_json"):
        with messages.restored():
            messages.choose(**dict.fromkeys(("quiet", "verbose", "log_json"), False) | {chosen: True})
            assert not messages.draws_bars()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not messages.draws_bars()


def test_a_count_without_a_total_asks_no_question():
    with Progress(*columns(), console=Console(width=80), disable=True) as progress:
        task = progress.add_task("videos", total=None)
        shown = Console(width=80)
        for done, expected in ((0, ""), (7, "7")):
            progress.update(task, completed=done)
            with shown.capture() as caught:
                shown.print(progress.make_tasks_table(progress.tasks))
            assert "?" not in caught.get()
            assert expected in caught.get()


def test_the_first_frames_tell_how_long_the_rest_takes(monkeypatch, capsys):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    pace = Pace()
    assert pace.seconds(0, 9) is None
    assert pace.seconds(3, 9) == 30.0
    clock = iter([0.0, 10.0, 10.0, 50.0, 50.0, 50.0])  # begun, loaded, and 40 s later
    lines = ProgressLines(2)
    lines.started("v")
    lines.advanced("v", 0, 9)
    lines.advanced("v", 4, 9)
    assert capsys.readouterr().err == "[1/2] v: 4 of 9, about 0:50 left\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (310, "5:10"), (7510, "2:05:10")])
def test_durations(seconds, text):
    assert duration(seconds) == text
