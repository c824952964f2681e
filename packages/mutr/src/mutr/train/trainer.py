"""How MUTR is trained, and the command `mutr-train`."""

from rvos_training.command.grounded_trainer import grounded_trainer_factory
from rvos_training.command.training_app import training_app

from mutr.predict import MUTRPredictor
from mutr.train.configs import TRAIN_CONFIGS

FACTORY = grounded_trainer_factory(MUTRPredictor.factory, TRAIN_CONFIGS)

app = training_app(
    "mutr-train",
    "Train MUTR: on Ref-YouTube-VOS and referring images jointly, as published, or on videos alone.",
    FACTORY,
)
