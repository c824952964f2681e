"""What the runs of a recipe were made from as a whole, so that they are made again when that has changed.

RUNS/.recipe/lock                       held by the one process that works on RUNS
RUNS/.recipe/runs/<run>/made_of.json    program, options, weights and data set of the run
RUNS/.recipe/source.json                where the data set or video was
RUNS/.recipe/speed.json                 measured times, for estimates
RUNS/.recipe/logs/                      messages of the programs

What the masks of a video were made from stands in the run itself (`mask_interchange.made_of`). The folder may be
deleted: then the runs are accepted if their manifests match. Names of runs do not begin with a dot.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mask_interchange import MaskRun, RunBusyError
from mask_interchange.files import lock_folder, write_whole

from fusion_core.errors import FusionCoreError

RECORDS = ".recipe"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a whole run is made from.

    Attributes:
        settings: JSON values.
        made_here: the run was begun by the runner; it may not remove any other.
    """

    settings: Mapping[str, Any]
    made_here: bool


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How long work took so far.

    Attributes:
        frames: that were done.
        seconds: that this took, summed over workers.
    """

    frames: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Speed") -> "Speed":
        return Speed(frames=self.frames + other.frames, seconds=self.seconds + other.seconds)


class ProvenanceStore:
    """The records of a folder of runs. To read them creates nothing.

    Attributes:
        runs: the folder of runs.
        root: the folder of the records.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.root = runs / RECORDS

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the folder while working on its runs.

        Raises:
            FusionCoreError: another process works on them.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with lock_folder(self.root, shared=False):
                yield
        except RunBusyError as error:
            raise FusionCoreError(
                f"{self.runs}: another process works on these runs; wait for it, or give another folder with --runs"
            ) from error

    def log(self, name: str) -> Path:
        """File for the messages of a program."""
        return self.root / "logs" / f"{name}.txt"

    def of_run(self, run: str) -> Provenance | None:
        """What a run was made from; None if there is no record."""
        tree = _read(self._records(run) / "made_of.json")
        if not isinstance(tree.get("settings"), dict):
            return None
        return Provenance(settings=tree["settings"], made_here=tree.get("made_here") is True)

    def source(self) -> dict[str, Any]:
        """Where the data set or video of the last work on the runs was; empty if that is not recorded."""
        return _read(self.root / "source.json")

    def note_source(self, described: Mapping[str, str | None]) -> None:
        """Record where the data set or video is."""
        _write(self.root / "source.json", described)

    def begin(self, run: str, settings: Mapping[str, Any]) -> None:
        """Record what a run is made from, from now on."""
        folder = self._records(run)
        made_here = not (self.runs / run / "run.json").is_file()
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "made_of.json", {"settings": settings, "made_here": made_here})

    def remove(self, run: str) -> None:
        """Remove a run and all its records.

        Raises:
            RunBusyError: another process writes the run.
        """
        folder, outdated = self.runs / run, self._records(run) / "outdated"
        if folder.is_dir():
            outdated.parent.mkdir(parents=True, exist_ok=True)
            with MaskRun.open(folder).writing():
                folder.rename(outdated)  # in one step: if this is interrupted, no half of a run stays
        shutil.rmtree(self._records(run), ignore_errors=True)

    def _records(self, run: str) -> Path:
        return self.root / "runs" / run

    def speeds(self) -> dict[str, Speed]:
        """How long work took so far, by what was loaded for it."""
        found = {}
        for name, speed in _read(self.root / "speed.json").items():
            if isinstance(speed, dict) and speed.keys() == {"frames", "seconds"}:
                found[name] = Speed(**speed)
        return found

    def add_speeds(self, speeds: Mapping[str, Speed]) -> None:
        """Add new measurements."""
        total = self.speeds()
        for name, speed in speeds.items():
            total[name] = total.get(name, Speed()) + speed
        _write(self.root / "speed.json", {name: asdict(speed) for name, speed in total.items()})


def _read(path: Path) -> dict[str, Any]:
    """A record; empty if it is absent or damaged: then work is done again."""
    try:
        tree = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _write(path: Path, tree: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(tree, indent=1).encode())
