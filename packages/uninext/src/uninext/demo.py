"""The small weights that this package ships, by configuration; the cards beside them say how they were made."""

from collections.abc import Mapping
from pathlib import Path

from mask_interchange.program import Demo

SHORT_SIDE = 192  # twice that of the drawn videos, as masks are drawn at a quarter of what the network sees


def _demo(config: str, stands_for: str) -> Demo:
    weights = Path(__file__).with_name(f"{config.replace('-', '_')}.safetensors")
    return Demo(weights=weights, config=config, stands_for=stands_for, short_side=SHORT_SIDE)


DEMOS: Mapping[str, Demo] = {
    demo.config: demo for demo in (_demo("demo-convnext", "convnext-l"), _demo("demo-vit", "vit-h"))
}
