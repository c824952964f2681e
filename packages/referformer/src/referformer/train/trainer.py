"""How ReferFormer is trained, and the command `referformer-train`."""

from rvos_training.command.grounded_trainer import grounded_program
from rvos_training.command.training_app import training_app

from referformer.predict import ReferFormerPredictor
from referformer.train.configs import RECIPES

FACTORY = grounded_program(ReferFormerPredictor.factory, RECIPES)

app = training_app(
    "referformer-train",
    "Train ReferFormer: on images first (`pretrain`), then on videos (`finetune`), or on both together (`joint`).",
    FACTORY,
)
