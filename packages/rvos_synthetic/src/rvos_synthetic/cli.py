"""The command `rvos-synthetic`: writes synthetic videos as files."""

from pathlib import Path
from typing import Annotated

import typer

from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.video import DEFAULT_FRAMES, DEFAULT_SIZE

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"expected HEIGHTxWIDTH, such as 96x160, found {text!r}")
    return int(height), int(width)


@app.command()
def write(
    split: Annotated[str, typer.Option(help="train, valid or test; they share no video.")],
    videos: Annotated[int, typer.Option(help="How many videos, counted from 0.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the data set; may hold a split to continue.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="PNG file that shows some frames of each video.")] = None,
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Size of the frames in pixels.")
    ] = f"{DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]}",
    frames: Annotated[int, typer.Option(help="Frames per video.")] = DEFAULT_FRAMES,
) -> None:
    """Write synthetic videos: textured objects that move, exact masks, and expressions that tell the objects apart.

    The layout is that of Ref-YouTube-VOS. Equal options give equal pixels and expressions on every machine.
    """
    from rvos_synthetic.dataset import write_dataset
    from rvos_synthetic.sheet import write_sheet

    if out is None and sheet is None:
        raise typer.BadParameter("expected --out FOLDER, --sheet FILE or both")
    pixels = _size(size)
    try:
        if sheet is not None:
            write_sheet(sheet, split, videos, size=pixels, frames=frames)
        if out is not None:
            write_dataset(out, split, videos, size=pixels, frames=frames, progress=_progress)
    except (SyntheticError, OSError) as error:
        typer.echo(f"rvos-synthetic: error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as interrupt:
        typer.echo("rvos-synthetic: interrupted; finished videos are kept, the same command continues", err=True)
        raise typer.Exit(130) from interrupt


def _progress(done: int, count: int) -> None:
    """Print a line whenever another tenth of the work is done."""
    if done and done * 10 // count > (done - 1) * 10 // count:
        typer.echo(f"{done}/{count} videos", err=True)


def main() -> None:
    """Entry point of the console script `rvos-synthetic`."""
    app()
