"""Golden cases: input/output vectors of the published code, and the weights they were made with.

A case is `<case>.manifest.json` (what it is) beside `<case>.npz` (`in.*`, `mid.*`, `out.*`). Everything a test needs
is read from these two files, so that any other set in the same format runs unchanged.
"""

from golden_cases.cases import GoldenCase, find_cases, goldens_root
from golden_cases.compare import (
    GRADIENT,
    NETWORK,
    StageReport,
    assert_close,
    assert_half_close,
    assert_same_track,
    rounding,
)
from golden_cases.weights import draw, published_weights

__all__ = [
    "GRADIENT",
    "NETWORK",
    "GoldenCase",
    "StageReport",
    "assert_close",
    "assert_half_close",
    "assert_same_track",
    "draw",
    "find_cases",
    "goldens_root",
    "published_weights",
    "rounding",
]
