"""Everything that only a GPU can tell, on a machine with torch and a handful of wheels and without a network.

    python tools/gpu/check.py --out h200                     # writes h200.json and h200.md
    python tools/gpu/check.py --device cpu --tiny --out try  # the script itself, anywhere

In this order: whether the kernels of `msda_ops` are right, whether the networks agree with the processor in every
precision, how fast kernels and networks are. What is not installed is left out and named. When the minutes are over,
what is left is named too. The exit code is 1 if something is wrong.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kernels
import networks
import torch
from program_kit.torch.device import choose_device

Rows = list[dict[str, Any]]


def parts(device: torch.device, options: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Rows]]]:
    """The tables in the order of their worth: a heading, what is measured, and the work."""
    sizes = {"tiny": options.tiny, "repeats": options.repeats}
    wanted = [network for network in networks.NETWORKS if not options.network or network.name in options.network]
    yield "Kernels: right", "msda_ops", partial(kernels.check, device, tiny=options.tiny)
    for network in wanted:
        yield "Networks: agree", network.name, partial(networks.agreement, network, device)
    yield "Kernels: speed", "msda_ops", partial(kernels.speed, device, **sizes)
    for precision in options.precision or networks.PRECISIONS:
        for network in wanted:
            work = partial(networks.speed, network, device, precision, **sizes)
            yield "Networks: speed", f"{network.name}, {precision}", lambda work=work: [work()]


def run(device: torch.device, options: argparse.Namespace) -> tuple[dict[str, Rows], list[str]]:
    """All tables, and what is not in them with the reason."""
    tables: dict[str, Rows] = {}
    missing: list[str] = []
    end = time.monotonic() + 60 * options.minutes
    for heading, name, work in parts(device, options):
        if time.monotonic() > end:
            missing.append(f"{heading}, {name}: the minutes were over")
            continue
        start = time.monotonic()
        try:
            rows = work()
        except ImportError as error:
            missing.append(f"{heading}, {name}: {error}")
            continue
        tables.setdefault(heading, []).extend(rows)
        print(f"{heading}, {name}: {time.monotonic() - start:.0f} s", flush=True)
    return tables, missing


def machine(device: torch.device) -> dict[str, str]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    found = {"device": name, "python": platform.python_version(), "torch": torch.__version__}
    return found | {"cuda": str(torch.version.cuda)} if device.type == "cuda" else found


def as_table(rows: Rows) -> str:
    """Rows as a table of markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_shown(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def report(found: dict[str, str], tables: dict[str, Rows], missing: list[str]) -> str:
    """Everything as markdown."""
    text = [", ".join(f"{name} {value}" for name, value in found.items()) + "."]
    text += [f"## {heading}\n\n{as_table(rows)}" for heading, rows in tables.items()]
    if missing:
        text.append("## Not measured\n\n" + "\n".join(f"- {line}" for line in missing))
    return "\n\n".join(text) + "\n"


def main() -> int:
    """Run what is asked for, print it and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="miniatures and few cases")
    parser.add_argument("--network", action="append", help="only this one; may be repeated")
    parser.add_argument("--precision", action="append", choices=networks.PRECISIONS, help="of the speeds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8, help="after them nothing new is begun")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"))
    options = parser.parse_args()
    device = choose_device(options.device)
    tables, missing = run(device, options)
    found = machine(device)
    wrong = [row for rows in tables.values() for row in rows if row.get("right") is False]
    text = report(found, tables, missing)
    options.out.with_suffix(".json").write_text(
        json.dumps({"machine": found, "tables": tables, "not measured": missing}, indent=1) + "\n"
    )
    options.out.with_suffix(".md").write_text(text)
    print(f"\n{text}\n{len(wrong)} wrong: {wrong}" if wrong else f"\n{text}\nall right")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
