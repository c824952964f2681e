"""What a training needs to resume, in one file, written whole or not at all.

`<out>/checkpoints/step-<number>.pt`; only the latest few are kept. Files hold tensors and plain values: reading one
never runs code. `torch.save` writes a zip archive with a checksum of every tensor, which reading compares.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from mask_interchange.files import replace_whole

from rvos_training.errors import TrainingError
from rvos_training.writing import explained

FORMAT_VERSION = 3  # 1 had other names of settings, 2 did not tell what may change from what may not
STEPS = re.compile(r"step-(\d+)\.pt")


@dataclass(kw_only=True)
class Position:
    """How far a training is.

    Attributes:
        epoch: current epoch, from 0.
        batches: of the current epoch that every process has finished.
        step: steps of the optimizer since the start.
        validated: step of the last validation.
        best: best score so far; None before the first.
        loss_sum, loss_count: of the steps since the last validation, for their mean.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    validated: int = 0
    best: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """The content of a checkpoint.

    Attributes:
        settings: of the training; it resumes under equal ones only.
        changeable: other settings, which may be others when it resumes.
        position: how far the training is.
        parts: state dicts by name (`network`, `optimizer`, `scaler`).
        random: states of the random generators, of each process.
    """

    settings: Mapping[str, Any]
    changeable: Mapping[str, Any]
    position: Position
    parts: Mapping[str, Any]
    random: list[dict[str, Any]]


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: created with the first checkpoint.
        keep: number of latest checkpoints to keep.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint and remove the oldest ones.

        Raises:
            TrainingError: it cannot be written; the checkpoints before it stay.
        """
        path = self.folder / f"step-{state.position.step:07d}.pt"
        content = {
            "format_version": FORMAT_VERSION,
            "settings": dict(state.settings),
            "changeable": dict(state.changeable),
            "position": asdict(state.position),
            "parts": dict(state.parts),
            "random": state.random,
        }
        with explained(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_whole(path, partial(_write, content))
            for old in self._files()[: -self.keep]:
                old.unlink()
        return path

    def latest(self, settings: Mapping[str, Any]) -> TrainingState | None:
        """The latest checkpoint; None where there is none.

        Raises:
            TrainingError: it cannot be read, or has other settings; says which.
        """
        files = self._files()
        if not files:
            return None
        state = _read(files[-1])
        if found := differences(state.settings, settings):
            raise TrainingError(
                f"{files[-1]}: this training has other settings; use the same ones, or another --out\n  "
                + "\n  ".join(found)
            )
        return state

    def _files(self) -> list[Path]:
        """All checkpoints, oldest first."""
        found = [path for path in self.folder.glob("*.pt") if STEPS.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")))


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the settings in a checkpoint and those of now, in words."""
    return [
        f"{name} is {saved.get(name)!r} in the checkpoint and {now.get(name)!r} now"
        for name in sorted({*saved, *now})
        if saved.get(name) != now.get(name)
    ]


def _write(content: Mapping[str, Any], path: Path) -> None:
    with path.open("xb") as file:  # given a path, torch would say of a full disk "unexpected pos 576 vs 534"
        torch.save(content, file)


def _read(path: Path) -> TrainingState:
    try:
        with ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} differs from its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise many types for a file that is not what it should be
        raise TrainingError(
            f"{path}: not a readable checkpoint ({error}); remove it to resume from the one before"
        ) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise TrainingError(
            f"{path}: expected a checkpoint of format {FORMAT_VERSION}, found {version!r}; finish this training with "
            "the version that began it, or choose another --out"
        )
    try:
        return TrainingState(
            settings=content["settings"],
            changeable=content["changeable"],
            position=Position(**content["position"]),
            parts=content["parts"],
            random=content["random"],
        )
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{path}: not a checkpoint of a training ({error}); choose another --out") from error
