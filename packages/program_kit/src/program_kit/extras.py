"""Commands that need an optional extra of their package, such as `soc-train`."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

from program_kit.distributions import published_name


def extra_command(command: str, module: str, *, package: str, extra: str, needs: str) -> Callable[[], None]:
    """The entry point of a command: it runs, or says in one line what to install and exits with code 2.

    Args:
        command: console script, e.g. `soc-train`.
        module: holds the command's typer application as `app`; imported when the command runs.
        package: distribution that declares command and extra, e.g. `soc`.
        extra: its name, e.g. `train`.
        needs: import name of what only the extra installs.
    """

    def main() -> None:
        if find_spec(needs) is None:
            print(
                f"{command}: error: {needs} is not installed; run `uv run --package {package} --extra {extra} "
                f"{command} ...`, or outside a checkout install {published_name(package)}[{extra}]",
                file=sys.stderr,
            )
            sys.exit(2)
        import_module(module).app()

    return main
