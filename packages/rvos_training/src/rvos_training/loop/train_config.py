"""How a model is trained, as data."""

from dataclasses import asdict, dataclass
from typing import Any

from rvos_layers.inference.config import ResizeRule

from rvos_training.loop.optimizer import Optimisation, Rates

PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """For how long, and how; whatever is learned.

    Attributes:
        epochs: how often everything is seen.
        batch: clips of one process at a time.
        accumulation: batches to one step of the optimizer.
        optimisation: rates and so on.
        seed: fixes order, augmentation, initial weights and dropout.
        precision: of the network's arithmetic: `no` for float32, `bf16` or `fp16` for mixed precision.
        steps: end after so many steps of the optimizer, wherever that is; None for no limit.
    """

    epochs: int
    batch: int = 1
    accumulation: int = 1
    optimisation: Rates
    seed: int = 42
    precision: str = "no"
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1 or None, not {self.steps}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """What must stay the same when training goes on: all but its end."""
        return {name: value for name, value in asdict(self).items() if name not in ("epochs", "steps")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Course):
    """What to train a referring model on, for how long, and how.

    Attributes:
        videos: whether to train on videos.
        images: image data sets to train on, by the name in `instances_<name>_train.json`.
        frames: of a clip.
        resize: size of the frames.
        optimisation: rates and so on.
        faithful: brings back what looks like faults of the published training, see the model's README.
    """

    videos: bool = True
    images: tuple[str, ...] = ()
    frames: int = 8
    resize: ResizeRule
    optimisation: Optimisation
    faithful: bool = False

    def __post_init__(self) -> None:
        Course.__post_init__(self)
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, not {self.frames}")
        if not self.videos and not self.images:
            raise ValueError("a recipe needs videos or images")
