"""Compare a computation with a golden case stage by stage."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class StageReport:
    """Collects differences in the order of the data flow; `check` fails with the first stage that moved.

    Attributes:
        case: name of the case, for the message.
        tolerance: largest absolute difference that counts as equal.
    """

    case: str
    tolerance: float = 1e-4
    _rows: list[tuple[str, float, float]] = field(default_factory=list)

    def add(self, stage: str, actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float | None = None) -> None:
        """Record one stage; a shape mismatch or a NaN on one side counts as infinitely far."""
        a, e = np.asarray(actual), np.asarray(expected)
        if a.shape != e.shape:
            raise AssertionError(f"{self.case}: {stage} has shape {a.shape}, expected {e.shape}")
        difference = np.abs(a.astype(np.float64) - e.astype(np.float64))
        largest = float(difference.max(initial=0.0))
        limit = self.tolerance if tolerance is None else tolerance
        self._rows.append((stage, float("inf") if np.isnan(largest) else largest, limit))

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """(stage, largest difference, tolerance) in the order of comparison."""
        return list(self._rows)

    def check(self) -> None:
        """Raise AssertionError naming the first stage beyond its tolerance; fails when nothing was compared."""
        assert self._rows, f"{self.case}: nothing was compared"
        moved = [row for row in self._rows if row[1] > row[2]]
        if moved:
            table = "\n".join(f"  {'MOVED' if d > t else 'ok   '} {s}: {d:.3g} (<= {t:g})" for s, d, t in self._rows)
            raise AssertionError(f"{self.case}: first stage that moved is {moved[0][0]!r}\n{table}")
