"""What is particular to AOT and DeAOT: they get the masks of first frames in place of expressions."""

from importlib.metadata import version
from pathlib import Path
from typing import cast

from aot_deaot.bundled import BUNDLED
from aot_deaot.config import Family
from aot_deaot.predict import AOTPropagator, DeAOTPropagator
from aot_deaot.train.configs import PropagationTrainConfig
from aot_deaot.train.first_masks import first_masks
from aot_deaot.train.trainer import PropagationTrainingRequest
from aot_deaot.train.trainer import train as train_network
from mask_interchange import MaskRun, RunManifest, open_dataset
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.weights import BundledWeights
from rvos_evaluation.evaluation import Evaluation

from demo_weights.real_frames import propagate_first_masks, score_real_frames

CONFIG = "demo"


def shipped_propagator(model: str) -> BundledWeights:
    """The weights that the package ships for a model."""
    return BUNDLED[cast(Family, model)]


def score_on_real_frames(model: str, folder: Path, work: Path) -> Evaluation:
    """Scores of a propagator with its shipped weights on real videos, from the true masks of first frames."""
    loaded = {"aot": AOTPropagator, "deaot": DeAOTPropagator}[model].load()
    name = f"{model}-{read_checkpoint(shipped_propagator(model).path).sha256[:8]}"
    return score_real_frames(propagate_first_masks(loaded, name, folder, work / "real" / name), folder)


def train_propagator(
    model: str,
    config: PropagationTrainConfig,
    start: Path | None,
    init_from: Path | None,
    data: Path,
    out: Path,
    device: str,
) -> None:
    """Train one stage; a stopped training resumes."""
    request = PropagationTrainingRequest(
        family=cast(Family, model),
        config=CONFIG,
        data=data,
        out=out,
        checkpoint=start,
        init_from=init_from,
        device=device,
        save_every=100,
    )
    train_network(request, config)


def first_masks_run(data: Path, split: str, folder: Path) -> Path:
    """A run with the ground truth of every object on the first frame that shows it; written once."""
    dataset = open_dataset(data, split)
    manifest = RunManifest(
        producer="demo-weights",
        producer_version=version("demo-weights"),
        settings={"masks": "ground truth of the first frame that shows the object"},
        dataset=dataset.identity,
    )
    run = MaskRun.create(folder, manifest)
    with run.writing():
        for name in run.missing(dataset.videos):
            run.write(first_masks(data / split / "Annotations", dataset.videos[name]))
    return folder
