"""Find golden cases on disk."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from golden_cases.weights import published_weights

ROOT_VARIABLE = "RVOS_GOLDENS"
MANIFEST_SUFFIX = ".manifest.json"
FULL_SIZE = 100e6  # weights


@dataclass(frozen=True)
class GoldenCase:
    """One golden case; arrays and weights are read when first used.

    Attributes:
        package: folder name of the package, e.g. `soc`.
        name: file stem, e.g. `tiny_pad`; only for test ids and messages, never to decide what to do.
        path: the manifest file.
    """

    package: str
    name: str
    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The parsed manifest."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def kind(self) -> str:
        """What the case exercises, e.g. `inference` or `preprocess`."""
        return self.manifest["kind"]

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Every array of the npz file by its name (`in.*`, `mid.*`, `out.*`)."""
        with np.load(self.path.with_name(self.name + ".npz"), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    @property
    def is_full_size(self) -> bool:
        """Whether the network has a published size, so that making its weights alone takes long."""
        lists = self.manifest.get("state_dict", [])
        entries = lists if isinstance(lists, list) else [entry for part in lists.values() for entry in part]
        return sum(math.prod(shape) for _, shape, _, _ in entries) > FULL_SIZE

    def names(self, prefix: str) -> list[str]:
        """Names of the arrays that start with `prefix`, in file order."""
        return [name for name in self.arrays if name.startswith(prefix)]

    def weights(self, group: str | None = None) -> dict[str, np.ndarray]:
        """The published state dict (float entries) that the case was made with.

        Args:
            group: key into a manifest whose `state_dict` holds several named lists.
        """
        entries = self.manifest["state_dict"] if group is None else self.manifest["state_dict"][group]
        explicit = {n.removeprefix("weight."): a for n, a in self.arrays.items() if n.startswith("weight.")}
        return published_weights(entries, self.manifest.get("overrides") or {}, explicit)

    def __str__(self) -> str:
        return self.name


def goldens_root() -> Path | None:
    """The folder named by `RVOS_GOLDENS` (it holds `<package>/`), or None when the variable is not set."""
    value = os.environ.get(ROOT_VARIABLE)
    if not value:
        return None
    root = Path(value)
    if not root.is_dir():
        raise FileNotFoundError(f"{ROOT_VARIABLE}={value} is not a folder; set it to the folder that holds <package>/")
    return root


def find_cases(package: str, kinds: Iterable[str] | None = None, local: Path | None = None) -> list[GoldenCase]:
    """All cases of a package: those under `$RVOS_GOLDENS/<package>/` and those kept with its tests.

    Args:
        package: folder name of the package.
        kinds: only these kinds; None for all.
        local: folder of cases that travel with the tests. A case found under `RVOS_GOLDENS` replaces its namesake here.

    Returns:
        Cases sorted by name.
    """
    wanted = None if kinds is None else set(kinds)
    root = goldens_root()
    folders = [folder for folder in (local, root / package if root else None) if folder is not None]
    found: dict[str, GoldenCase] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*{MANIFEST_SUFFIX}")):
            case = GoldenCase(package, path.name.removesuffix(MANIFEST_SUFFIX), path)
            found[case.name] = case
    return [case for _, case in sorted(found.items()) if wanted is None or case.kind in wanted]
