"""How MUTR is trained, and the command `mutr-train`."""

from rvos_training.command.grounded_trainer import grounded_program
from rvos_training.command.training_app import training_app

from mutr.predict import MUTRPredictor
from mutr.train.configs import RECIPES

FACTORY = grounded_program(MUTRPredictor.factory, RECIPES)

app = training_app(
    "mutr-train",
    "Train MUTR: on Ref-YouTube-VOS and referring images jointly, as published, or on videos alone.",
    FACTORY,
)
