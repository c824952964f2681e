"""`fusion-core weights`: which weights are published, and which are here."""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.app import plain_app
from program_kit.messages import log

if TYPE_CHECKING:
    from fusion_core.weights.catalogue import Entry

weights = plain_app(help="Published weights: list, fetch, add, verify, convert.", no_args_is_help=True)

NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Names of `weights list`, or hub:OWNER/NAME@COMMIT.")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A name of `weights list`, or hub:OWNER/NAME@COMMIT.")
]


def _tell(line: str) -> None:
    log.info(line)


@weights.command("list")
def list_weights(
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Only what the models of this recipe take.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List published weights: model, source, licence, size, SHA-256, and what is on this machine."""
    from program_kit.weights_folder import weights_folder

    from fusion_core.recipe.named import find_recipe
    from fusion_core.weights.catalogue import entries

    found = entries(None if recipe is None else find_recipe(recipe))
    if json:
        for one in found:
            typer.echo(json_module.dumps(_as_json(one)))
        return
    for one in found:
        _print(one)
    typer.echo(f"folder: {weights_folder()} (RVOS_WEIGHTS names another)")


def _print(entry: "Entry") -> None:
    of = entry.weights
    typer.echo(f"{of.name}: {entry.state}")
    typer.echo(f"    {of.title}; {of.megabytes}")
    typer.echo(f"    licence: {of.licence}")
    if of.terms:
        typer.echo(f"    data: {of.terms}")
    typer.echo(f"    from {of.source}")
    published = {file.name for file in of.files if file.sha256}
    for name, sha256 in entry.sha256.items():
        origin = "" if sha256 is None or name in published else ", recorded at first use"
        typer.echo(f"    {name}: SHA-256 {sha256 or 'unknown'}{origin}")


def _as_json(entry: "Entry") -> dict[str, object]:
    from program_kit.weights_table import users_of

    of = entry.weights
    return {
        "name": of.name,
        "state": entry.state,
        "title": of.title,
        "source": of.source,
        "licence": of.licence,
        "data": of.terms,
        "size": of.size,
        "sha256": entry.sha256,
        "programs": [f"{program} --config {config}" for program, config in users_of(of.name)],
    }


@weights.command()
def fetch(names: NamesArgument) -> None:
    """Download weights into your folder. Files that are there are looked at first; a broken download continues.

    Exit code 2: something could not be fetched; the last lines say what to do.
    """
    from fusion_core.terminal.progress import progress_bar
    from fusion_core.weights.fetch import fetch
    from fusion_core.weights.store import WeightsFilesError

    failed = False
    for name in names:
        try:
            with progress_bar(f"{name}, bytes") as progress:
                typer.echo(f"{name}: {fetch(name, _tell, progress)}")
        except WeightsFilesError as error:
            failed = True
            log.error(f"fusion-core: error: {error}")
    if failed:
        raise typer.Exit(2)


@weights.command()
def add(name: NameArgument, path: Annotated[Path, typer.Argument(help="The file, or the folder of files.")]) -> None:
    """Take files that are elsewhere on this machine: check what they are, copy them, and record their hashes."""
    from fusion_core.weights.store import add

    typer.echo(f"{name}: {add(name, path, _tell)}")


@weights.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="By default all that are here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Hash files again, against what is published and what was recorded. Exit code 1: one is wrong or missing."""
    from program_kit.weights_folder import weights_folder
    from program_kit.weights_table import published

    from fusion_core.weights.catalogue import Verdict, recorded, verdicts

    wrong = False
    for name in names or recorded():
        if not name.startswith("hub:"):
            published(name)
        for file, verdict in verdicts(name).items():
            if json:
                typer.echo(json_module.dumps({"name": name, "file": file, "verdict": verdict}))
            else:
                typer.echo(f"{name}: {verdict}" if file == name else f"{name}: {file}: {verdict}")
            if verdict in {Verdict.WRONG, Verdict.MISSING}:
                wrong = True
    if wrong:
        log.error(f"delete what is wrong in {weights_folder()}, then fetch or add it again")
        raise typer.Exit(1)
    if not names and not recorded():
        log.info(f"no weights in {weights_folder()}")


@weights.command()
def convert(name: NameArgument) -> None:
    """Convert weights to safetensors with the names of their program, which takes these from then on."""
    from fusion_core.weights.convert import convert

    typer.echo(f"{name}: {convert(name, _tell)}")
