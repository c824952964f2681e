"""Configurations of ReferFormer's training, by name.

Source: `scripts/` and `opts.py` of wjn922/ReferFormer, with 8 processes; `finetune.sh` of the challenge code.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.train_config import ReferringTrainConfig

from referformer.preprocess import RESIZE

JOINT = ReferringTrainConfig(  # the ensemble's ReferFormer, before `challenge`
    images=("refcoco", "refcoco+", "refcocog"),
    frames=5,
    resize=RESIZE,
    epochs=12,
    optimisation=MultiStepOptimisation(
        lr=1e-4, backbone_lr=5e-5, text_encoder_lr=None, weight_decay=5e-4, max_grad_norm=0.1, lr_milestones=(8, 10)
    ),
)
PRETRAIN = replace(
    JOINT, videos=False, frames=1, batch_size=2, optimisation=replace(JOINT.optimisation, text_encoder_lr=1e-5)
)
FINETUNE = replace(JOINT, images=(), epochs=6, optimisation=replace(JOINT.optimisation, lr_milestones=(3, 5)))
CHALLENGE = replace(
    FINETUNE, optimisation=replace(FINETUNE.optimisation, lr=5e-6, backbone_lr=1e-6, text_encoder_lr=1e-6)
)
TRAIN_CONFIGS = {"joint": JOINT, "pretrain": PRETRAIN, "finetune": FINETUNE, "challenge": CHALLENGE}
