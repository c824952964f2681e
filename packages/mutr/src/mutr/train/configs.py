"""Configurations of MUTR's training, by name.

Source: `train.py`, `opts.py` and `scripts/` of OpenGVLab/MUTR, which trains with 8 processes.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.train_config import ReferringTrainConfig

from mutr.preprocess import RESIZE

JOINT = ReferringTrainConfig(
    images=("refcoco", "refcoco+", "refcocog"),
    frames=5,
    resize=RESIZE,
    epochs=12,
    batch_size=2,
    optimisation=MultiStepOptimisation(
        lr=1e-4, backbone_lr=6e-6, text_encoder_lr=1e-5, weight_decay=5e-4, max_grad_norm=0.1, lr_milestones=(8, 10)
    ),
)
TRAIN_CONFIGS = {"joint": JOINT, "videos": replace(JOINT, images=())}
