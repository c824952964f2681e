"""How a model is trained, as data."""

from dataclasses import asdict, dataclass
from typing import Any

from rvos_layers.inference.config import ResizeRule

from rvos_training.loop.optimizer import MultiStepOptimisation, Optimisation

PRECISIONS = ("no", "bf16", "fp16")
CHANGEABLE = ("epochs", "steps", "precision", "optimisation")  # when a training resumes; of `optimisation` only a part


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How long to train and how, whatever is learned.

    Attributes:
        epochs: passes over the training data.
        batch_size: clips of one process at a time.
        gradient_accumulation_steps: batches to one step of the optimizer.
        optimisation: the optimizer and its learning rates.
        seed: fixes order, augmentation, initial weights and dropout.
        precision: of the network's arithmetic: `no` for float32, `bf16` or `fp16` for mixed precision.
        steps: stop after this many steps of the optimizer, even inside an epoch; None for no limit.

    Raises:
        ValueError: a value is out of range; says which.
    """

    epochs: int
    batch_size: int = 1
    gradient_accumulation_steps: int = 1
    optimisation: Optimisation
    seed: int = 42
    precision: str = "no"
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1 or None, not {self.steps}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """What must stay the same when a training resumes."""
        fixed = {name: value for name, value in asdict(self).items() if name not in CHANGEABLE}
        return fixed | self.optimisation.fixed

    @property
    def changeable(self) -> dict[str, Any]:
        """What may be changed when a training resumes, and is said then."""
        rates = {
            name: value for name, value in asdict(self)["optimisation"].items() if name not in self.optimisation.fixed
        }
        return {"precision": self.precision, **rates}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferringTrainConfig(TrainConfig):
    """What a referring model is trained on, how long and how.

    Attributes:
        videos: whether to train on videos.
        images: image data sets to train on, by the name in `instances_<name>_train.json`.
        frames: of a clip.
        resize: size of the frames.
        optimisation: the optimizer and its learning rates.
        faithful: bring back what looks like faults of the published training; see the model's README.

    Raises:
        ValueError: a value is out of range, or there is nothing to train on.
    """

    videos: bool = True
    images: tuple[str, ...] = ()
    frames: int = 8
    resize: ResizeRule
    optimisation: MultiStepOptimisation
    faithful: bool = False

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, not {self.frames}")
        if not self.videos and not self.images:
            raise ValueError("a training needs videos or images")
