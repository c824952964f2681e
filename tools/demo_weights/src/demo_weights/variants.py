"""Models of this tool that are one of several networks of a program; every other model is a program by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from program_kit.weights import BundledWeights
from uninext.bundled import BUNDLED


@dataclass(frozen=True, slots=True)
class Variant:
    """Which network of which program.

    Attributes:
        package: of the program, `<package>-infer`.
        config: its configuration.
    """

    package: str
    config: str


VARIANTS: Mapping[str, Variant] = {config.replace("demo", "uninext"): Variant("uninext", config) for config in BUNDLED}


def variant(model: str) -> Variant:
    """The program and configuration of a model."""
    return VARIANTS.get(model, Variant(model, "demo"))


def shipped_variant(model: str) -> BundledWeights:
    """Where a program keeps the weights of one of its networks."""
    return BUNDLED[VARIANTS[model].config]
