"""The small weights that this package ships, by configuration; the cards beside them say how they were made."""

from collections.abc import Mapping
from pathlib import Path

from program_kit.weights import BundledWeights

from uninext.config import CONFIGS


def _demo(config: str, stands_for: str) -> BundledWeights:
    path = Path(__file__).with_name(f"{config.replace('-', '_')}.safetensors")
    return BundledWeights(path=path, config=config, stands_for=stands_for, short_side=CONFIGS[config].image.short_side)


BUNDLED: Mapping[str, BundledWeights] = {
    demo.config: demo for demo in (_demo("demo-convnext", "convnext-l"), _demo("demo-vit", "vit-h"))
}
