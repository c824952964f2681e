"""How ReferFormer is trained, and the command `referformer-train`."""

from rvos_training.command.grounded_trainer import grounded_trainer_factory
from rvos_training.command.training_app import training_app

from referformer.predict import ReferFormerPredictor
from referformer.train.configs import TRAIN_CONFIGS

FACTORY = grounded_trainer_factory(ReferFormerPredictor.factory, TRAIN_CONFIGS)

app = training_app(
    "referformer-train",
    "Train ReferFormer: on images first (`pretrain`), then on videos (`finetune`), or on both together (`joint`).",
    FACTORY,
)
