"""Configurations of SOC's training, by name.

Source: `configs/joint.yaml`, `main_joint.py` and `jointtrainer.py` of the challenge code, with 8 processes.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.train_config import ReferringTrainConfig

from soc.preprocess import RESIZE

JOINT = ReferringTrainConfig(
    images=("refcoco", "refcoco+", "refcocog", "grefcoco"),
    frames=8,
    resize=RESIZE,
    epochs=30,
    batch_size=1,
    optimisation=MultiStepOptimisation(
        lr=1e-4, backbone_lr=1e-5, text_encoder_lr=5e-6, weight_decay=1e-4, max_grad_norm=0.1, lr_milestones=(20,)
    ),
)
TRAIN_CONFIGS = {
    "joint": JOINT,
    "joint-refcoco": replace(JOINT, images=("refcoco", "refcoco+", "refcocog")),  # of SOC's own repository
    "videos": replace(JOINT, images=()),
}
