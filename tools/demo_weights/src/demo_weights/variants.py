"""Models of this tool that are one of several networks of a program; every other model is a program of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from program_kit.weights import BundledWeights


@dataclass(frozen=True, slots=True)
class Variant:
    """Which network of which program.

    Attributes:
        package: of the program, `<package>-infer`.
        config: its configuration.
    """

    package: str
    config: str


VARIANTS: Mapping[str, Variant] = {
    "uninext-convnext": Variant("uninext", "demo-convnext"),
    "uninext-vit": Variant("uninext", "demo-vit"),
}


def variant(model: str) -> Variant:
    """The program and configuration of a model."""
    return VARIANTS.get(model, Variant(model, "demo"))


def shipped_variant(model: str) -> BundledWeights:
    """The weights that a program ships for one of its networks."""
    network = VARIANTS[model]
    return import_module(f"{network.package}.bundled").BUNDLED[network.config]
