"""Training of AOT and DeAOT with the trainer of `rvos_training`.

Clips of a few frames, the first frame's masks given, the network's own labels fed back, cross entropy of the hardest
pixels and soft Jaccard, AdamW with falling rates: as the papers describe the training on videos. Left out are the
training on still images before it, random crops and colours, averaged weights, and the slow turn from all pixels to the
hardest. Unlike there, slots without an object compete in training too: to tell slots apart is learned from every clip.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from accelerate import Accelerator
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_training.data.data_parts import AnnotatedVideos, open_parts
from rvos_training.loop.contract import TrainingModule
from rvos_training.loop.initial_weights import load_relative
from rvos_training.loop.random_state import seed_everything
from rvos_training.loop.trainer import Trainer
from rvos_training.loop.validation import Validation

from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import Family, named_config
from aot_deaot.network import PropagationNetwork
from aot_deaot.propagate import Propagator
from aot_deaot.settings import corrected
from aot_deaot.train.clips import PropagationBatch, PropagationData
from aot_deaot.train.configs import PropagationRecipe
from aot_deaot.train.first_masks import FirstMaskPropagator
from aot_deaot.train.initial_weights import prepare
from aot_deaot.train.objective import PropagationCriterion, PropagationLosses
from aot_deaot.train.rollout import roll_out


class PropagationLearner(TrainingModule):
    """Network and losses."""

    def __init__(self, network: PropagationNetwork, criterion: PropagationCriterion) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion

    def forward(self, batch: PropagationBatch) -> PropagationLosses:
        """Losses of a batch, computed in float32 whatever precision the network runs in."""
        network = cast(PropagationNetwork, self.network)
        return self.criterion(roll_out(network, batch.frames, batch.labels[:, 0]), batch.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationRequest:
    """One training.

    Attributes:
        family: `aot` or `deaot`.
        config: name of the network.
        data: folder of the data set, see `rvos_training.data.data_parts`.
        out: folder for checkpoints, logs and weights; a training that is there goes on.
        checkpoint: network to start from; None for random weights.
        relative: weights of a network of the other family; what fits by name and shape replaces random ones.
        device: `auto` or `cpu`.
        save_every: steps between checkpoints.
    """

    family: Family
    config: str
    data: Path
    out: Path
    checkpoint: Path | None = None
    relative: Path | None = None
    device: str = "auto"
    save_every: int = 500


def train(request: PropagationRequest, recipe: PropagationRecipe) -> Trainer:
    """Train to the end.

    Raises:
        TrainingError: parts of the data are missing, or `out` holds a training under other settings.
        CheckpointError: the weights to start from do not fit.
    """
    accelerator = Accelerator(cpu=request.device == "cpu", mixed_precision=recipe.precision)
    parts = open_parts(request.data, image_sets=())
    network = starting_network(request, recipe.seed)
    trainer = Trainer(
        PropagationLearner(network, PropagationCriterion(hardest=recipe.hardest, reference=recipe.reference)),
        PropagationData(parts.videos, recipe, network.config),
        recipe,
        request.out,
        accelerator,
        settings={
            "family": request.family,
            "config": request.config,
            "data": parts.videos.dataset.identity,
        },
        save_weights=lambda path: CHECKPOINTS[request.family].save(path, network, request.config),
        validate=_validation(parts.validation, network, request.out, accelerator),
        save_every=request.save_every,
    )
    trainer.run()
    return trainer


def starting_network(request: PropagationRequest, seed: int) -> PropagationNetwork:
    """The network that training starts from."""
    config = named_config(request.family, request.config)
    seed_everything(seed)
    network = PropagationNetwork(config)
    if request.checkpoint is None:
        prepare(network)
        if request.relative is not None:
            load_relative(network, request.relative)
    else:
        CHECKPOINTS[request.family].fill(network, read_checkpoint(request.checkpoint), request.config)
    return network


def _validation(
    videos: AnnotatedVideos | None, network: PropagationNetwork, out: Path, accelerator: Accelerator
) -> Validation | None:
    """Plain propagation at one scale, from first frames of the validation videos."""
    if videos is None:
        return None
    settings = replace(corrected(network.config), scales=(1.0,), flip=False)
    propagator = Propagator(network.to(accelerator.device), settings)
    return Validation(videos, FirstMaskPropagator(propagator, videos.annotations), out / "validation")
