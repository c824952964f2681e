"""What a user asks of a training command. Nothing heavy is imported here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """One training.

    Attributes:
        data: folder of the data set, see `data_parts`.
        out: folder for checkpoints, logs and weights; a training that is there goes on.
        recipe: name of the recipe.
        config: name of the network's configuration.
        checkpoint: whole network to start from; None to start from `backbone` and `text_encoder`.
        backbone: file of a Video-Swin trained on Kinetics, or `random`.
        text_encoder: folder or hub id of RoBERTa, or `random`.
        relative: weights of another network, in our names; what fits by name and shape replaces random ones.
        tokenizer: as in inference.
        device: `auto` or `cpu`.
        workers: processes that read samples ahead.
        save_every: steps between checkpoints.
        changes: of the recipe's fields, and `short_side`; None leaves one as it is.
    """

    data: Path
    out: Path
    recipe: str
    config: str
    checkpoint: Path | None = None
    backbone: str = RANDOM
    text_encoder: str = RANDOM
    relative: Path | None = None
    tokenizer: str = "auto"
    device: str = "auto"
    workers: int = 0
    save_every: int = 500
    changes: Mapping[str, int | str | bool | None] = field(default_factory=dict)
