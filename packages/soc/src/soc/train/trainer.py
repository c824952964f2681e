"""How SOC is trained, and the command `soc-train`."""

from rvos_training.command.trainer_factory import TrainingProgram
from rvos_training.command.training_app import training_app
from rvos_training.loop.model_with_loss import learner_of

from soc.predict import SOCPredictor
from soc.train.configs import RECIPES
from soc.train.objective import answers, criterion

FACTORY = TrainingProgram(model=SOCPredictor.factory, recipes=RECIPES, learner=learner_of(answers, criterion))

app = training_app(
    "soc-train",
    "Train SOC: on Ref-YouTube-VOS and referring image data jointly, as published, or on videos alone.",
    FACTORY,
)
