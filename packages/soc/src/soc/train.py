"""The command `soc-train`; also `accelerate launch -m soc.train ...` for several processes."""

from typing import TYPE_CHECKING

from rvos_training.command.training_app import training_app

if TYPE_CHECKING:
    from rvos_training.command.trainer_factory import TrainingProgram


def program() -> "TrainingProgram":
    """How SOC is trained; importing it takes a while."""
    from rvos_training.command.trainer_factory import TrainingProgram
    from rvos_training.loop.model_with_loss import learner_of

    from soc.objective import answers, criterion
    from soc.predict import SOCPredictor
    from soc.recipes import RECIPES

    return TrainingProgram(model=SOCPredictor.program, recipes=RECIPES, learner=learner_of(answers, criterion))


main = training_app(
    "soc-train",
    "Train SOC: on Ref-YouTube-VOS and referring image data jointly, as published, or on videos alone.",
    configs=("joint-base", "tiny", "demo"),
    recipes=("joint", "videos"),
    program=program,
)

if __name__ == "__main__":
    main()
