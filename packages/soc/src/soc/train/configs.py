"""How SOC is trained, by name.

Source: `configs/joint.yaml`, `main_joint.py` and `jointtrainer.py` of the challenge code; there with 8 processes.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import Optimisation
from rvos_training.loop.train_config import Recipe

from soc.preprocess import RESIZE

JOINT = Recipe(
    images=("refcoco", "refcoco+", "refcocog", "grefcoco"),
    frames=8,
    resize=RESIZE,
    epochs=30,
    batch=1,
    optimisation=Optimisation(
        rate=1e-4, backbone_rate=1e-5, text_rate=5e-6, weight_decay=1e-4, gradient_norm=0.1, drops=(20,)
    ),
)
RECIPES = {"joint": JOINT, "videos": replace(JOINT, images=())}
