"""The command `referformer-train`; also `accelerate launch -m referformer.train ...` for several processes."""

from typing import TYPE_CHECKING

from rvos_training.command.training_app import training_app

if TYPE_CHECKING:
    from rvos_training.command.trainer_factory import TrainingProgram


def program() -> "TrainingProgram":
    """How ReferFormer is trained; importing it takes a while."""
    from rvos_training.command.grounded_trainer import grounded_program

    from referformer.predict import ReferFormerPredictor
    from referformer.recipes import RECIPES

    return grounded_program(ReferFormerPredictor.program, RECIPES)


main = training_app(
    "referformer-train",
    "Train ReferFormer: on images first (`pretrain`), then on videos (`finetune`), or on both together (`joint`).",
    configs=("video-swin-b", "video-swin-s", "video-swin-t", "resnet-50", "tiny", "demo"),
    recipes=("joint", "pretrain", "finetune", "challenge"),
    program=program,
)

if __name__ == "__main__":
    main()
