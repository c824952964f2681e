"""The small weights that this package ships, by family; demo_aot.md and demo_deaot.md say how they were made."""

from collections.abc import Mapping
from pathlib import Path

from program_kit.weights import BundledWeights

from aot_deaot.config import CONFIGS, Family


def _demo(family: Family) -> BundledWeights:
    return BundledWeights(
        path=Path(__file__).with_name(f"demo_{family}.safetensors"),
        short_side=CONFIGS[family]["demo"].short_side,
    )


BUNDLED: Mapping[Family, BundledWeights] = {family: _demo(family) for family in CONFIGS}
