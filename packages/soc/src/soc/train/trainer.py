"""How SOC is trained, and the command `soc-train`."""

from rvos_training.command.trainer_factory import TrainerFactory
from rvos_training.command.training_app import training_app
from rvos_training.loop.model_with_loss import with_losses

from soc.predict import SOCPredictor
from soc.train.configs import TRAIN_CONFIGS
from soc.train.objective import criterion, layer_predictions

FACTORY = TrainerFactory(
    model=SOCPredictor.factory, train_configs=TRAIN_CONFIGS, with_losses=with_losses(layer_predictions, criterion)
)

app = training_app(
    "soc-train",
    "Train SOC: on Ref-YouTube-VOS and referring image data jointly, as published, or on videos alone.",
    FACTORY,
)
