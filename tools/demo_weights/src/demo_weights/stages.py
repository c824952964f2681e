"""What each demo model is trained on and how long, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rvos_layers.inference.config import ResizeRule
from rvos_synthetic.textures import COLOURS
from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.train_config import ReferringTrainConfig, TrainConfig

if TYPE_CHECKING:  # only the model in training needs to be installed
    from aot_deaot.train.configs import PropagationTrainConfig

SIZE = (96, 160)  # height and width of the synthetic videos
VIDEOS = {"train": 1200, "valid": 16, "test": 40}
EPOCHS = 3  # of every stage; the network is scored after each, and the last has a tenth of the learning rate
SEED = 42
SHIPPED = "shipped"  # in place of a stage: the weights that a model's package ships


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
        init_from: where no stage before was trained, `<model>/<stage>`, a stage of another model: training starts from
            its best weights where they fit; `<model>/shipped` for the weights that its package ships.
        choice: weight of the loss of choosing the object, see `demo_weights.choice`.
        absent: fraction of clips whose expression is false of every object, so that scores can be low.
        quality: scores learn how well a mask fits, see `Criterion.quality`.
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
    choice: float = 0.0
    absent: float = 0.0
    quality: bool = False

    def train_config(self, seed: int) -> ReferringTrainConfig:
        """The configuration of the training."""
        return ReferringTrainConfig(
            frames=self.frames,
            resize=ResizeRule(short=self.short_side, longest=None),
            epochs=EPOCHS,
            batch_size=self.batch_size,
            optimisation=optimisation(self.lr, self.text_encoder_lr or self.lr),
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderStage:
    """A part of a training that sees no masks: see `demo_weights.encoders`. It is not scored.

    Attributes:
        name, short_side, lr, init_from: as in `Stage`; frames are single.
        batch_size: frames of a step.
        samples: frames of all epochs.
        expressions: largest number of expressions about a frame.
    """

    name: str
    short_side: int
    batch_size: int
    samples: int
    expressions: int
    lr: float
    init_from: str | None = None

    def train_config(self, seed: int) -> TrainConfig:
        """The configuration of the training."""
        rates = optimisation(self.lr, self.lr)
        return TrainConfig(epochs=EPOCHS, batch_size=self.batch_size, optimisation=rates, seed=seed)


def optimisation(lr: float, text_encoder_lr: float) -> MultiStepOptimisation:
    """Rates that fall to a tenth for the last epoch."""
    return MultiStepOptimisation(
        lr=lr,
        backbone_lr=lr,
        text_encoder_lr=text_encoder_lr,
        weight_decay=1e-4,
        max_grad_norm=1.0,
        lr_milestones=(EPOCHS - 1,),
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


# Weights that masks and sentences alone had taught choose the right object in every second frame; README.md says what
# was found. So encoders learn words and looks first, by themselves. Then the choice among the objects of a frame is a
# loss of its own, in small frames, which are cheap. Masks have a quarter of the frame's resolution, so the last stage
# enlarges the frames; it also teaches scores: how well a mask fits, and that an object may not be there.
ENCODERS = EncoderStage(name="encoders", short_side=192, batch_size=8, samples=48_000, expressions=4, lr=1e-3)
CHOICE = Stage(name="choice", short_side=128, frames=1, batch_size=16, samples=200_000, lr=5e-4, choice=2.0)
CLIPS = Stage(name="clips", short_side=128, frames=4, batch_size=4, samples=40_000, lr=3e-4, choice=2.0)
SHARP = Stage(
    name="sharp",
    short_side=2 * SIZE[0],
    frames=1,
    batch_size=8,
    samples=100_000,
    lr=3e-4,
    text_encoder_lr=1e-4,
    choice=1.0,
    absent=0.1,
    quality=True,
)


def taught(model: str) -> tuple[EncoderStage | Stage, ...]:
    """Stages of SOC, ReferFormer or MUTR, which go on from the weights that it ships."""
    return (replace(ENCODERS, init_from=f"{model}/{SHIPPED}"), CHOICE, CLIPS, SHARP)


# UNINEXT: first expressions that one frame and one word decide, in small frames. Then all expressions; then enlarged
# frames, because masks have a quarter of the frame's resolution. Which object is meant is learned slowly, and as well
# from small frames: both once more. With high learning rates the words of an expression end up nearly alike, so the
# last stage lowers that of the text encoder.
EASY = rf"\b({'|'.join(COLOURS)})\b|on the (left|right)|at the (top|bottom)|in the (upper|lower) half"
SMALL = Stage(name="small", short_side=48, pattern=EASY, frames=1, batch_size=32, samples=800_000, lr=1e-3)
LARGE = Stage(name="large", short_side=2 * SIZE[0], frames=1, batch_size=8, samples=200_000, lr=5e-4)
FRAMES = Stage(name="frames", frames=1, batch_size=16, samples=400_000, lr=1e-3)
MORE = replace(FRAMES, name="more", samples=200_000)
AGAIN = replace(LARGE, name="again")
LAST = replace(LARGE, name="last", lr=3e-4, text_encoder_lr=1e-4)
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
# More of the same, on longer clips, from the weights that are shipped.
LONGER = replace(PROPAGATING[1], name="longer", frames=5, samples=4_800, lr=5e-4)
# A step of DeAOT takes longer, and it learns its propagation only: encoder, identity bank and decoder are AOT's.
AFTER_AOT = (
    replace(PROPAGATING[0], samples=1_280, epochs=2, init_from="aot/pairs"),
    replace(PROPAGATING[1], samples=1_280, epochs=4),
)
# UNINEXT sees single frames only.
FRAME_BY_FRAME = (SMALL, FRAMES, LARGE, MORE, AGAIN, LAST)
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
AnyStage = Stage | EncoderStage | PropagationStage
STAGES: Mapping[str, tuple[AnyStage, ...]] = {
    "soc": taught("soc"),
    "referformer": taught("referformer"),
    "mutr": taught("mutr"),
    "aot": (*PROPAGATING, replace(LONGER, init_from=f"aot/{SHIPPED}")),
    "deaot": (*AFTER_AOT, replace(LONGER, init_from=f"deaot/{SHIPPED}")),
    "uninext-convnext": FRAME_BY_FRAME,
    "uninext-vit": AFTER_CONVNEXT,
}


def is_propagator(model: str) -> bool:
    """Whether a model propagates masks; the others take expressions."""
    return isinstance(STAGES[model][0], PropagationStage)
