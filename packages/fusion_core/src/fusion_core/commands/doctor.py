"""`fusion-core doctor`: what works here, what does not, and what to do about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusion_core.doctor import Diagnosis


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Check environments, programs, kernels, devices, disk and downloads; changes nothing.

    Exit code 0: recipes will run; 1: something will not work; the list below the table says what to do.
    """
    from rich.console import Console

    from fusion_core.doctor import State, examine

    with Console(stderr=True).status("checking every environment; this takes a moment"):
        diagnoses = list(examine(runs))
    problems = [diagnosis for diagnosis in diagnoses if diagnosis.state is State.PROBLEM]
    if json:
        from dataclasses import asdict
        from json import dumps

        tree = {"healthy": not problems, "findings": [asdict(diagnosis) for diagnosis in diagnoses]}
        typer.echo(dumps(tree, indent=1, ensure_ascii=False))
    else:
        _print(diagnoses)
    if problems:
        raise typer.Exit(1)


def _print(diagnoses: "list[Diagnosis]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fusion_core.doctor import State

    colours = {State.FINE: "green", State.NOTE: "yellow", State.PROBLEM: "bold red"}
    table = Table("", "", "state")
    table.add_column("found", overflow="fold")
    area = ""
    for diagnosis in diagnoses:
        if diagnosis.area != area and area:
            table.add_section()
        shown = "" if diagnosis.area == area else diagnosis.area
        table.add_row(shown, diagnosis.subject, Text(diagnosis.state, colours[diagnosis.state]), Text(diagnosis.text))
        area = diagnosis.area
    console = Console()
    console.print(table)
    for state in (State.NOTE, State.PROBLEM):
        for diagnosis in diagnoses:
            if diagnosis.state is state and diagnosis.remedy:
                where = f"{state}: {diagnosis.area}, {diagnosis.subject}: "
                console.print(Text.assemble((where, colours[state]), diagnosis.remedy), soft_wrap=True)
    if not any(diagnosis.state is State.PROBLEM for diagnosis in diagnoses):
        console.print("no problems")
