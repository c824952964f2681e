"""The bundled weights; demo.md tells how they were trained and what they score."""

from pathlib import Path

from program_kit.weights import BundledWeights

BUNDLED = BundledWeights(path=Path(__file__).with_name("demo.safetensors"), short_side=192)
