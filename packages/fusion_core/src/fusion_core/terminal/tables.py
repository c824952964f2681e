"""Tables in the width of the terminal; elsewhere one line a row, however long."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

ENDLESS = 2**15  # columns; no row is longer


def print_table(table: "RenderableType") -> None:
    """Print a table on standard output."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=ENDLESS)
    console.print(table)
