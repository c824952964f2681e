"""How ReferFormer is trained, by name.

Source: `scripts/` and `opts.py` of wjn922/ReferFormer, there with 8 processes; `finetune.sh` of the challenge code.
"""

from dataclasses import replace

from rvos_training.loop.optimizer import Optimisation
from rvos_training.loop.train_config import Recipe

from referformer.preprocess import RESIZE

JOINT = Recipe(  # the member of the ensemble before `challenge`
    images=("refcoco", "refcoco+", "refcocog"),
    frames=5,
    resize=RESIZE,
    epochs=12,
    optimisation=Optimisation(
        rate=1e-4, backbone_rate=5e-5, text_rate=None, weight_decay=5e-4, gradient_norm=0.1, drops=(8, 10)
    ),
)
PRETRAIN = replace(JOINT, videos=False, frames=1, batch=2, optimisation=replace(JOINT.optimisation, text_rate=1e-5))
FINETUNE = replace(JOINT, images=(), epochs=6, optimisation=replace(JOINT.optimisation, drops=(3, 5)))
CHALLENGE = replace(
    FINETUNE, optimisation=replace(FINETUNE.optimisation, rate=5e-6, backbone_rate=1e-6, text_rate=1e-6)
)
RECIPES = {"joint": JOINT, "pretrain": PRETRAIN, "finetune": FINETUNE, "challenge": CHALLENGE}
