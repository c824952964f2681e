"""`fusion-core doctor`: what works here, what does not, and what to do about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusion_core.doctor import Finding


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder that is to take the runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Look at environments, programs, kernels, devices, disk and downloads; change nothing.

    Exit code 0: recipes will run; 1: something will not work, and the list below the table says what to do.
    """
    from rich.console import Console

    from fusion_core.doctor import State, examine

    with Console(stderr=True).status("asking every environment; this takes a moment"):
        findings = list(examine(runs))
    problems = [finding for finding in findings if finding.state is State.PROBLEM]
    if json:
        from dataclasses import asdict
        from json import dumps

        tree = {"healthy": not problems, "findings": [asdict(finding) for finding in findings]}
        typer.echo(dumps(tree, indent=1, ensure_ascii=False))
    else:
        _print(findings)
    if problems:
        raise typer.Exit(1)


def _print(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fusion_core.doctor import State

    colours = {State.FINE: "green", State.NOTE: "yellow", State.PROBLEM: "bold red"}
    table = Table("", "", "state")
    table.add_column("found", overflow="fold")
    area = ""
    for finding in findings:
        if finding.area != area and area:
            table.add_section()
        shown = "" if finding.area == area else finding.area
        table.add_row(shown, finding.subject, Text(finding.state, colours[finding.state]), Text(finding.text))
        area = finding.area
    console = Console()
    console.print(table)
    for state in (State.NOTE, State.PROBLEM):
        for finding in findings:
            if finding.state is state and finding.remedy:
                where = f"{state}: {finding.area}, {finding.subject}: "
                console.print(Text.assemble((where, colours[state]), finding.remedy), soft_wrap=True)
    if not any(finding.state is State.PROBLEM for finding in findings):
        console.print("no problems")
