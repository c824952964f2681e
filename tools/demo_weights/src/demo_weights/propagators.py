"""What is particular to AOT and DeAOT: no sentences, and true masks of first frames to start from."""

from importlib.metadata import version
from pathlib import Path
from typing import cast

from aot_deaot.bundled import BUNDLED
from aot_deaot.config import Family
from aot_deaot.train.configs import PropagationRecipe
from aot_deaot.train.first_masks import first_masks
from aot_deaot.train.trainer import PropagationRequest
from aot_deaot.train.trainer import train as train_network
from mask_interchange import MaskRun, RunManifest, open_dataset
from program_kit.weights import BundledWeights

CONFIG = "demo"


def shipped_propagator(model: str) -> BundledWeights:
    """Where the package keeps a model's weights."""
    return BUNDLED[cast(Family, model)]


def train_propagator(
    model: str,
    recipe: PropagationRecipe,
    start: Path | None,
    relative: Path | None,
    data: Path,
    out: Path,
    device: str,
) -> None:
    """One stage; a training that is there goes on."""
    request = PropagationRequest(
        family=cast(Family, model),
        config=CONFIG,
        data=data,
        out=out,
        checkpoint=start,
        relative=relative,
        device=device,
        save_every=100,
    )
    train_network(request, recipe)


def first_masks_run(data: Path, split: str, folder: Path) -> Path:
    """A run with the true mask of every object on the frame that first shows it; written once."""
    dataset = open_dataset(data, split)
    manifest = RunManifest(
        producer="demo-weights",
        producer_version=version("demo-weights"),
        settings={"masks": "true ones, of the first frame that shows the object"},
        dataset=dataset.identity,
    )
    run = MaskRun.create(folder, manifest)
    with run.writing():
        for name in run.missing(dataset.videos):
            run.write(first_masks(data / split / "Annotations", dataset.videos[name]))
    return folder
