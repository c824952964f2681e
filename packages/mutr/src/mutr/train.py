"""The command `mutr-train`; also `accelerate launch -m mutr.train ...` for several processes."""

from typing import TYPE_CHECKING

from rvos_training.command.training_app import training_app

if TYPE_CHECKING:
    from rvos_training.command.trainer_factory import TrainingProgram


def program() -> "TrainingProgram":
    """How MUTR is trained; importing it takes a while."""
    from rvos_training.command.grounded_trainer import grounded_program

    from mutr.predict import MUTRPredictor
    from mutr.recipes import RECIPES

    return grounded_program(MUTRPredictor.program, RECIPES)


main = training_app(
    "mutr-train",
    "Train MUTR: on Ref-YouTube-VOS and referring images jointly, as published, or on videos alone.",
    configs=("video-swin-b", "video-swin-s", "video-swin-t", "resnet-50", "tiny", "demo"),
    recipes=("joint", "videos"),
    program=program,
)

if __name__ == "__main__":
    main()
