"""What each demo model is trained on, and for how long, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rvos_layers.inference.config import ResizeRule
from rvos_synthetic.textures import COLOURS
from rvos_training.loop.optimizer import Optimisation
from rvos_training.loop.train_config import Recipe

if TYPE_CHECKING:  # a model is trained where no other one needs to be installed
    from aot_deaot.train.configs import PropagationRecipe

SIZE = (96, 160)  # of the drawn videos
VIDEOS = {"train": 1200, "valid": 16, "test": 40}
EPOCHS = 3  # of every stage; the network is scored after each, and the last one runs at a tenth of the rate
SEED = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training.

    Attributes:
        name: of its folder.
        short_side: of the frames, in pixels.
        sentences: regular expression; only sentences in which it is found are learned from.
        frames: of a clip.
        batch: clips to a step.
        samples: clips in all.
        rate: learning rate of everything but the text encoder.
        text_rate: its learning rate; the same by default.
        relative: for a first stage, `<model>/<stage>`: a stage of another model, with whose best weights it starts as
            far as they fit.
    """

    name: str
    short_side: int = SIZE[0]
    sentences: str = ""
    frames: int
    batch: int
    samples: int
    rate: float
    text_rate: float | None = None
    relative: str | None = None

    def recipe(self, seed: int) -> Recipe:
        """As the trainer takes it."""
        return Recipe(
            frames=self.frames,
            resize=ResizeRule(short=self.short_side, longest=None),
            epochs=EPOCHS,
            batch=self.batch,
            optimisation=Optimisation(
                rate=self.rate,
                backbone_rate=self.rate,
                text_rate=self.text_rate or self.rate,
                weight_decay=1e-4,
                gradient_norm=1.0,
                drops=(EPOCHS - 1,),
            ),
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationStage:
    """A part of a propagator's training: it follows the objects of a clip's first frame.

    Attributes:
        name: of its folder.
        frames: of a clip.
        batch: clips to a step.
        samples: clips in all.
        epochs: after each of which the network is scored and the rate falls.
        rate: highest learning rate, of everything.
        floor: share of it that is left at the end.
        hardest: share of a frame's pixels that the cross entropy counts.
        reference: weight of reading out the first frame's own masks.
        relative: as of `Stage`.
    """

    name: str
    frames: int
    batch: int
    samples: int
    epochs: int
    rate: float
    floor: float
    hardest: float
    reference: float
    relative: str | None = None

    def recipe(self, share: float, seed: int) -> "PropagationRecipe":
        """As the trainer takes it, for a part of the samples."""
        from aot_deaot.train.configs import FallingRates, PropagationRecipe

        return PropagationRecipe(
            epochs=self.epochs,
            batch=self.batch,
            samples=max(self.batch, round(self.samples * share / self.epochs)),
            frames=self.frames,
            longest_step=2,
            hardest=self.hardest,
            reference=self.reference,
            optimisation=FallingRates(
                rate=self.rate, encoder=1.0, floor=self.floor, falling=self.epochs, gradient_norm=1.0
            ),
            seed=seed,
        )


# What one frame and one word tell, in small frames, which are cheap; then all sentences in single frames, which show
# sixteen scenes for the work of four clips; then clips, as they teach motion. Masks have a quarter of the frame's
# resolution, so then frames are enlarged. Which object is meant is learned slowly, and as well from small frames: both
# once more. With high rates the words of a sentence end up nearly alike; at last the text encoder gets a lower one.
EASY = rf"\b({'|'.join(COLOURS)})\b|on the (left|right)|at the (top|bottom)|in the (upper|lower) half"
SMALL = Stage(name="small", short_side=48, sentences=EASY, frames=1, batch=32, samples=800_000, rate=1e-3)
LARGE = Stage(name="large", short_side=2 * SIZE[0], frames=1, batch=8, samples=200_000, rate=5e-4)
FRAMES = Stage(name="frames", frames=1, batch=16, samples=200_000, rate=1e-3)
MORE = replace(FRAMES, name="more")
AGAIN = replace(LARGE, name="again")
LAST = replace(LARGE, name="last", rate=3e-4, text_rate=1e-4)
LONGER = replace(LAST, name="longer")  # added after SOC had scored 54.6 on the test videos
CLIPS = Stage(name="clips", frames=4, batch=4, samples=40_000, rate=3e-4)
REFERRING = (SMALL, FRAMES, CLIPS, LARGE, MORE, AGAIN, LAST, LONGER)
# MUTR is ReferFormer with two parts more, which have to be learned.
AFTER_REFERFORMER = (replace(AGAIN, relative="referformer/again"), LAST)
# Two frames are enough to learn what belongs to what; then the network's own answers are fed back.
PROPAGATING = (
    PropagationStage(
        name="pairs", frames=2, batch=8, samples=2_880, epochs=3, rate=2e-3, floor=0.5, hardest=0.3, reference=1.0
    ),
    PropagationStage(
        name="clips", frames=4, batch=4, samples=2_400, epochs=6, rate=1e-3, floor=0.02, hardest=0.3, reference=0.2
    ),
)
# DeAOT needs longer for a step and has to learn its propagation only: encoder, identity bank and decoder are AOT's.
AFTER_AOT = (
    replace(PROPAGATING[0], samples=1_280, epochs=2, relative="aot/pairs"),
    replace(PROPAGATING[1], samples=1_280, epochs=4),
)
# UNINEXT sees single frames only.
FRAME_BY_FRAME = (SMALL, replace(FRAMES, samples=400_000), LARGE, MORE, AGAIN, LAST)
# Behind the other backbone, the same parts know already what words mean.
BEHIND_VIT = (
    Stage(
        name="easy",
        sentences=EASY,
        frames=1,
        batch=16,
        samples=200_000,
        rate=1e-3,
        relative="uninext-convnext/small",
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
    "uninext-vit": BEHIND_VIT,
}


def is_propagator(model: str) -> bool:
    """Whether a model carries masks on rather than finding them."""
    return isinstance(STAGES[model][0], PropagationStage)
