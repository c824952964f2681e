"""Which weights a program takes: a checkpoint, random ones of a seed, or those bundled with it.

A checkpoint is a file, or for some programs a folder of files.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mask_interchange.files import file_sha256

from program_kit.errors import WeightsError

GIVE_WEIGHTS = "give either --checkpoint PATH or --weights random:SEED (in Python checkpoint=PATH or seed=SEED)"
CheckpointKind = Literal["file", "folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledWeights:
    """Small weights that a package ships, so that its program works before anything is downloaded.

    Attributes:
        path: the file.
        config: the configuration that they belong to.
        stands_for: the published configuration that this is a small version of. A user who asks for that one, and gives
            no weights, gets these. Only for packages that ship several.
        short_side: of the frames that they were trained on, in pixels; None for a program without the option.
    """

    path: Path
    config: str = "demo"
    stands_for: str | None = None
    short_side: int | None = None

    @property
    def available(self) -> bool:
        """Whether the file is there; a tool of its own makes it, after the program."""
        return self.path.is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsChoice:
    """The weights to load: a checkpoint, or random ones of a seed. One of the two is None.

    Attributes:
        checkpoint: the file or folder.
        seed: of random weights.
        bundled: the file came with the program, because the user asked for none.
    """

    checkpoint: Path | None = None
    seed: int | None = None
    bundled: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """What a manifest's settings say of them, beside its `checkpoint_sha256`."""
        return {} if self.seed is None else {"weights": f"random:{self.seed}"}

    def sha256(self) -> str | None:
        """SHA-256 of the checkpoint (of a folder as `folder_sha256` has it), None for random weights."""
        if self.checkpoint is None:
            return None
        return folder_sha256(self.checkpoint) if self.checkpoint.is_dir() else file_sha256(self.checkpoint)

    def __str__(self) -> str:
        if self.seed is not None:
            return f"random, seed {self.seed} (untrained: masks mean nothing)"
        if self.bundled:
            return "demo (a small network trained on synthetic videos; --checkpoint PATH takes published ones)"
        return f"{self.checkpoint}"


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the list that `sha256sum` prints of a folder's files, sorted by path; hidden ones are left out.

    Raises:
        OSError: a file cannot be read.
    """
    paths = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    listed = "".join(f"{file_sha256(folder / path)}  {path}\n" for path in paths)
    return hashlib.sha256(listed.encode()).hexdigest()


def parse_seed(weights: str | None) -> int | None:
    """The seed of the option `--weights random:SEED`; None if the option is not given.

    Raises:
        WeightsError: it has another form.
    """
    if weights is None:
        return None
    match = re.fullmatch(r"random:([0-9]{1,9})", weights)
    if not match:
        raise WeightsError(f"--weights {weights}: expected random:SEED, for instance random:0")
    return int(match[1])


def known_config(configs: Sequence[str], config: str) -> str:
    """`config`, if a configuration has this name.

    Raises:
        WeightsError: none has; names those that exist.
    """
    if config not in configs:
        raise WeightsError(f"config {config}: expected one of {', '.join(configs)}")
    return config


def choose_network(
    configs: Sequence[str],
    bundled: Sequence[BundledWeights],
    config: str | None = None,
    checkpoint: Path | None = None,
    seed: int | None = None,
    kind: CheckpointKind = "file",
) -> tuple[str, WeightsChoice]:
    """The configuration and the weights to load; the one rule for command lines and for Python.

    Without checkpoint and seed, a program takes its bundled weights, and the configuration follows from them.

    Args:
        configs: names of the program's configurations, the default first.
        bundled: the weights that its package ships, the default first.
        config: the configuration asked for.
        checkpoint: the weights asked for.
        seed: of the random weights asked for.
        kind: what a checkpoint of the program is.

    Raises:
        WeightsError: there is no such configuration, file or folder, both or neither of checkpoint and seed are given,
            or no weights are bundled for the configuration.
    """
    known = known_config(configs, config or configs[0])
    available = [weights for weights in bundled if weights.available]
    if checkpoint is None and seed is None and available:
        for weights in available:
            if config in (None, weights.config, weights.stands_for):
                return weights.config, WeightsChoice(checkpoint=weights.path, bundled=True)
        raise WeightsError(
            f"config {config}: this program ships weights of {', '.join(w.config for w in available)} only; "
            f"{GIVE_WEIGHTS}"
        )
    if (checkpoint is None) == (seed is None):
        raise WeightsError(GIVE_WEIGHTS)
    if checkpoint is not None and not (checkpoint.is_file() if kind == "file" else checkpoint.is_dir()):
        raise WeightsError(f"checkpoint {checkpoint}: no such {kind}")
    return known, WeightsChoice(checkpoint=checkpoint, seed=seed)
