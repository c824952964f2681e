"""The small weights that this package ships; demo.md says how they were made and what they score."""

from pathlib import Path

from mask_interchange.program import Demo

DEMO = Demo(weights=Path(__file__).with_name("demo.safetensors"), short_side=192)
