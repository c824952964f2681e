"""The small weights that this package ships; demo.md says how they were made and what they score."""

from pathlib import Path

from program_kit.weights import BundledWeights

BUNDLED = BundledWeights(path=Path(__file__).with_name("demo.safetensors"), short_side=192)
