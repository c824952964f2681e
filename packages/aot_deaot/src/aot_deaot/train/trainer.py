"""Training of AOT and DeAOT with the trainer of `rvos_training`.

As in the papers' training on videos, a clip has a few frames, the masks of the first frame are given, and the
network's own labels are fed back. The losses are cross entropy of the hardest pixels and soft Jaccard, the optimizer is
AdamW with decaying learning rates. Left out are the training on still images before it, random crops and colours,
averaged weights, and the gradual change from all pixels to the hardest. Unlike in the papers, slots without an object
compete in training too, so that every clip teaches to tell slots apart.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from accelerate import Accelerator
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_training.data.data_check import check_training_videos, check_validation_videos
from rvos_training.data.data_parts import AnnotatedVideos, open_parts
from rvos_training.data.read_once import DATA_FILE, ReadOnce
from rvos_training.loop.contract import ModelWithLoss
from rvos_training.loop.devices import open_devices
from rvos_training.loop.initial_weights import load_common_weights
from rvos_training.loop.random_state import seed_everything
from rvos_training.loop.trainer import Trainer
from rvos_training.loop.validation import Validation

from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import Family, named_config
from aot_deaot.network import PropagationNetwork
from aot_deaot.propagate import Propagator
from aot_deaot.settings import corrected
from aot_deaot.train.clips import PropagationBatch, PropagationData
from aot_deaot.train.configs import PropagationTrainConfig
from aot_deaot.train.first_masks import FirstMaskPropagator
from aot_deaot.train.initial_weights import init_weights
from aot_deaot.train.objective import PropagationCriterion, PropagationLosses
from aot_deaot.train.rollout import roll_out


class PropagationModelWithLoss(ModelWithLoss):
    """A propagation network and its losses."""

    def __init__(self, network: PropagationNetwork, criterion: PropagationCriterion) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion

    def forward(self, batch: PropagationBatch) -> PropagationLosses:
        """Losses of a batch, computed in float32 whatever the network's precision."""
        network = cast(PropagationNetwork, self.network)
        return self.criterion(roll_out(network, batch.frames, batch.labels[:, 0]), batch.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationTrainingRequest:
    """What is asked of a training.

    Attributes:
        family: `aot` or `deaot`.
        config: name of the network's configuration.
        data: folder of the data set; see `rvos_training.data.data_parts`.
        out: folder for checkpoints, logs and weights; a training that is there resumes.
        checkpoint: weights to start from; None for random ones.
        init_from: weights of a network of the other family; those of equal name and shape replace random ones.
        device: `auto` or `cpu`.
        save_every: steps between checkpoints.
    """

    family: Family
    config: str
    data: Path
    out: Path
    checkpoint: Path | None = None
    init_from: Path | None = None
    device: str = "auto"
    save_every: int = 500


def train(request: PropagationTrainingRequest, config: PropagationTrainConfig) -> Trainer:
    """Train to the end.

    Raises:
        TrainingError: parts of the data are missing, or `out` holds a training with other settings.
        CheckpointError: the initial weights do not fit.
    """
    accelerator = open_devices(request.device, config.precision)
    parts = open_parts(request.data, image_sets=())
    with accelerator.main_process_first():  # the others read its file
        read = ReadOnce(request.out / DATA_FILE)
        check_training_videos(parts.videos, read)
        if parts.validation is not None:
            check_validation_videos(parts.validation, read)
    network = initial_network(request, config.seed)
    trainer = Trainer(
        PropagationModelWithLoss(
            network,
            PropagationCriterion(top_k_fraction=config.top_k_fraction, reference_weight=config.reference_weight),
        ),
        PropagationData(parts.videos, config, network.config),
        config,
        request.out,
        accelerator,
        settings={
            "family": request.family,
            "config": request.config,
            **parts.settings(read.identity),
        },
        save_weights=lambda path: CHECKPOINTS[request.family].save(
            path, network, request.config, {"precision": config.precision}
        ),
        validate=_validation(parts.validation, network, request.out, accelerator),
        save_every=request.save_every,
    )
    trainer.run()
    return trainer


def initial_network(request: PropagationTrainingRequest, seed: int) -> PropagationNetwork:
    """The network with its initial weights."""
    config = named_config(request.family, request.config)
    seed_everything(seed)
    network = PropagationNetwork(config)
    if request.checkpoint is None:
        init_weights(network)
        if request.init_from is not None:
            load_common_weights(network, request.init_from)
    else:
        CHECKPOINTS[request.family].fill(network, read_checkpoint(request.checkpoint), request.config)
    return network


def _validation(
    videos: AnnotatedVideos | None, network: PropagationNetwork, out: Path, accelerator: Accelerator
) -> Validation | None:
    """Propagation at one scale, from the first frames that show each object of the validation videos."""
    if videos is None:
        return None
    settings = replace(corrected(network.config), scales=(1.0,), flip=False)
    propagator = Propagator(network.to(accelerator.device), settings)
    return Validation(videos, FirstMaskPropagator(propagator, videos.annotations), out / "validation")
