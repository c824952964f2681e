"""Synthetic videos with exact masks and referring expressions, equal on every machine."""

from rvos_synthetic.dataset import write_dataset
from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.grammar import ReferringExpression, vocabulary
from rvos_synthetic.scene import Scene, SceneObject
from rvos_synthetic.video import (
    DEFAULT_FRAMES,
    DEFAULT_SIZE,
    EDITION,
    SPLIT_LENGTH,
    SPLITS,
    SyntheticVideo,
    plan_video,
    render_video,
)

__all__ = [
    "DEFAULT_FRAMES",
    "DEFAULT_SIZE",
    "EDITION",
    "SPLITS",
    "SPLIT_LENGTH",
    "ReferringExpression",
    "Scene",
    "SceneObject",
    "SyntheticError",
    "SyntheticVideo",
    "plan_video",
    "render_video",
    "vocabulary",
    "write_dataset",
]
