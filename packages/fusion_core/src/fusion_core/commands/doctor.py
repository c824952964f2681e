"""`fusion-core doctor`: what works here, what does not, and what to do about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusion_core.doctor import Diagnosis

COLOURS = {"fine": "green", "note": "yellow", "problem": "red"}  # of the states


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Check environments, programs, kernels, devices, disk and downloads; changes nothing.

    Exit code 0: recipes will run; 1: something will not work; the list below the table says what to do.
    """
    from fusion_core.doctor import State, examine

    diagnoses, area = [], ""
    for diagnosis in examine(runs):
        if not json:
            if diagnosis.area != area:
                typer.secho(diagnosis.area, bold=True)
            _print(diagnosis)
        diagnoses.append(diagnosis)
        area = diagnosis.area
    problems = [diagnosis for diagnosis in diagnoses if diagnosis.state is State.PROBLEM]
    if json:
        from dataclasses import asdict
        from json import dumps

        tree = {"healthy": not problems, "findings": [asdict(diagnosis) for diagnosis in diagnoses]}
        typer.echo(dumps(tree, indent=1, ensure_ascii=False))
    else:
        _print_remedies(diagnoses)
    if problems:
        raise typer.Exit(1)


def _print(diagnosis: "Diagnosis") -> None:
    """Print a finding in one line, as soon as it is known: some take a minute."""
    state = typer.style(f"{diagnosis.state:<8}", fg=COLOURS[diagnosis.state])
    typer.echo(f"  {state} {diagnosis.subject}: {diagnosis.text}")


def _print_remedies(diagnoses: "list[Diagnosis]") -> None:
    from fusion_core.doctor import State

    for state in (State.NOTE, State.PROBLEM):
        for diagnosis in diagnoses:
            if diagnosis.state is state and diagnosis.remedy:
                where = typer.style(f"{state}: {diagnosis.area}, {diagnosis.subject}:", fg=COLOURS[state])
                typer.echo(f"{where} {diagnosis.remedy}")
    if not any(diagnosis.state is State.PROBLEM for diagnosis in diagnoses):
        typer.echo("no problems")
