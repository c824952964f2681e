"""How MUTR is trained, by name.

Source: `train.py`, `opts.py` and `scripts/` of OpenGVLab/MUTR; there with 8 processes.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import Optimisation
from rvos_training.loop.train_config import Recipe

from mutr.preprocess import RESIZE

JOINT = Recipe(
    images=("refcoco", "refcoco+", "refcocog"),
    frames=5,
    resize=RESIZE,
    epochs=12,
    batch=2,
    optimisation=Optimisation(
        rate=1e-4, backbone_rate=6e-6, text_rate=1e-5, weight_decay=5e-4, gradient_norm=0.1, drops=(8, 10)
    ),
)
RECIPES = {"joint": JOINT, "videos": replace(JOINT, images=())}
