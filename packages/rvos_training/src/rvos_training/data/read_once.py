"""Files that are read once, and again when they change: what was found is remembered beside their sizes and times."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mask_interchange import MaskInterchangeError
from mask_interchange.files import file_sha256, write_whole
from program_kit.messages import about, draws_bars, log
from rich.console import Console
from rich.progress import Progress

from rvos_training.errors import TrainingError
from rvos_training.writing import explained

DATA_FILE = "data_check.json"  # in a training's folder
FORMAT = 1
THREADS = 8
FAULTS_SHOWN = 20
LINE_EVERY = 10.0  # seconds between two lines about progress
V = TypeVar("V")
Facts = Mapping[str, Any]  # as JSON has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Files that are read together, those of a video or of an image.

    Attributes:
        files: all of them.
        read: reads them; what is worth knowing, as JSON has it. It raises what is wrong with them.
    """

    files: tuple[Path, ...]
    read: Callable[[], Facts]


class ReadOnce:
    """Reads files, unless they were read before and have not changed since.

    Args:
        cache: JSON file of what is known; made where it is missing.

    Attributes:
        identity: SHA-256 over the content of every part that was read, by its name.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.identity: dict[str, str] = {}
        self._known = _read_cache(cache)

    def __call__(self, part: str, makers: Mapping[str, Callable[[], Unit]]) -> dict[str, Facts]:
        """What is known of every unit of a part of the data.

        Args:
            part: its name.
            makers: make the units, by name; may raise what is wrong with them.

        Raises:
            TrainingError: lists what is wrong with all units; or the cache cannot be written.
        """
        known = self._known.get(part, {})
        look = _Look(makers, known)
        found: dict[str, Any] = {}
        faults: list[str] = []
        with ThreadPoolExecutor(THREADS) as threads:
            results = zip(makers, threads.map(look, makers), strict=True)
            for name, result in _shown(results, f"checking {part}", len(makers)):
                if isinstance(result, str):
                    faults.append(result)
                else:
                    found[name] = result
        if found != known:
            self._known[part] = found
            with explained(self.cache):
                self.cache.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.cache, json.dumps({"format": FORMAT, "parts": self._known}).encode())
        raise_faults(part, faults)
        self.identity[part] = _digest(f"{name}\0{entry['content']}\n" for name, entry in sorted(found.items()))
        return {name: entry["facts"] for name, entry in found.items()}


@dataclass(frozen=True, slots=True)
class _Look:
    makers: Mapping[str, Callable[[], Unit]]
    known: Mapping[str, Any]

    def __call__(self, name: str) -> dict[str, Any] | str:
        """What is known of a unit, or what is wrong with it."""
        try:
            unit = self.makers[name]()
            stamp = _digest(_stamp(file) for file in unit.files)
            if name in self.known and self.known[name]["stamp"] == stamp:
                return self.known[name]
            facts = unit.read()
            content = _digest(f"{file.name}\0{file_sha256(file)}\n" for file in unit.files)
        except (MaskInterchangeError, TrainingError, OSError) as error:
            return str(error)
        return {"facts": facts, "content": content, "stamp": stamp}


def raise_faults(part: str, faults: list[str]) -> None:
    """Raise what is wrong with a part of the data, if anything is.

    Raises:
        TrainingError: lists the first of the faults, and how many there are.
    """
    if faults:
        more = [f"and {len(faults) - FAULTS_SHOWN} more"] if len(faults) > FAULTS_SHOWN else []
        raise TrainingError(
            f"{part}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}; mend these, or leave what they are "
            "about out of the data\n  " + "\n  ".join(faults[:FAULTS_SHOWN] + more)
        )


def _shown(results: Iterable[V], what: str, total: int) -> Iterator[V]:
    """The same, with a bar on a terminal and a line now and then elsewhere."""
    said = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True, disable=not draws_bars()) as bar:
        for done, result in enumerate(bar.track(results, total=total, description=what), start=1):
            if not draws_bars() and time.monotonic() - said > LINE_EVERY:
                said = time.monotonic()
                log.info(f"{what}: {done} of {total}", extra=about(done=done, total=total))
            yield result


def _stamp(file: Path) -> str:
    try:
        state = file.stat()
    except FileNotFoundError:
        return f"{file.name}\0missing\n"  # reading it says more
    return f"{file.name}\0{state.st_size}\0{state.st_mtime_ns}\n"


def _digest(lines: Iterable[str]) -> str:
    total = hashlib.sha256()
    for line in lines:
        total.update(line.encode())
    return total.hexdigest()


def _read_cache(cache: Path) -> dict[str, Any]:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return content["parts"] if content["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none, or not one of ours
