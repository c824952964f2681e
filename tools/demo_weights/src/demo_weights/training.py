"""From synthetic videos to trained weights, stage by stage. Finished stages are not trained again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from mask_interchange import open_dataset
from program_kit.weights import BundledWeights
from rvos_synthetic import write_dataset
from rvos_training.command.trainer_factory import TrainerFactory, TrainingRequest, flip_and_resize
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import AnnotatedVideos, DataParts
from rvos_training.data.object_presence import Presence
from rvos_training.loop.train_config import ReferringTrainConfig

from demo_weights.clips import RandomClips
from demo_weights.stages import EPOCHS, SEED, SIZE, STAGES, VIDEOS, PropagationStage, Stage, is_propagator
from demo_weights.variants import VARIANTS, shipped_variant, variant

DEMO = "demo"  # tokenizer
BEST = "best.safetensors"


def write_data(root: Path, videos: Mapping[str, int] = VIDEOS) -> None:
    """Make the synthetic videos of every split that are missing."""
    for split, count in videos.items():
        write_dataset(root, split, count, size=SIZE)


def split_of(root: Path, split: str) -> AnnotatedVideos:
    """A split of the synthetic videos."""
    return AnnotatedVideos(open_dataset(root, split), root / split / "Annotations")


def shipped(model: str) -> BundledWeights:
    """The weights that a model's package ships."""
    if model in VARIANTS:
        return shipped_variant(model)
    if is_propagator(model):
        from demo_weights.propagators import shipped_propagator

        return shipped_propagator(model)
    return import_module(f"{model}.bundled").BUNDLED


def package(model: str) -> str:
    """The package of a model."""
    return "aot_deaot" if is_propagator(model) else variant(model).package


def best_weights(out: Path, stages: Sequence[Stage | PropagationStage]) -> Path | None:
    """The best weights of the last stage that was scored; None where none was."""
    found = [out / stage.name / BEST for stage in stages]
    return next((path for path in reversed(found) if path.is_file()), None)


def init_from(out: Path, stage: Stage | PropagationStage) -> Path | None:
    """The weights of another model that a stage starts from; `out` is the folder of the stage's model."""
    return None if stage.init_from is None else out.parent / stage.init_from / BEST


def train(
    model: str,
    data: Path,
    out: Path,
    *,
    stages: Sequence[str] | None = None,
    share: float = 1.0,
    device: str = "auto",
    seed: int = SEED,
) -> Path:
    """Train a model through its stages; a stopped training resumes.

    Args:
        model: one of STAGES.
        data: folder of `write_data`.
        out: folder for the stages' trainings.
        stages: names of the stages to train, all by default. The first of them starts from the best weights of the
            stages before it, if there are any.
        share: fraction of every stage's samples to train on.
        device: `auto` or `cpu`.
        seed: of weights and order.

    Returns:
        The weights of the last stage that scored best on the validation videos.

    Raises:
        TrainingError: `out` holds a training with other settings.
    """
    for number, stage in enumerate(STAGES[model]):
        if stages is None or stage.name in stages:
            start = best_weights(out, STAGES[model][:number])
            if isinstance(stage, PropagationStage):
                from demo_weights.propagators import train_propagator

                config, other = stage.train_config(share, seed), init_from(out, stage)
                train_propagator(model, config, start, other, data, out / stage.name, device)
            else:
                _train_stage(model, stage, start, data, out / stage.name, share, device, seed)
    best = best_weights(out, STAGES[model])
    assert best is not None
    return best


def _train_stage(
    model: str, stage: Stage, start: Path | None, data: Path, out: Path, share: float, device: str, seed: int
) -> None:
    samples = max(stage.batch_size, round(stage.samples * share / EPOCHS))

    def sources(parts: DataParts, presence: Presence, config: ReferringTrainConfig) -> list[ClipSource]:
        return [RandomClips(parts.videos, presence, config.frames, samples, stage.pattern)]

    network = variant(model)
    factory: TrainerFactory = import_module(f"{network.package}.train.trainer").FACTORY
    request = TrainingRequest(
        data=data,
        out=out,
        train_config=stage.name,
        config=network.config,
        checkpoint=start,
        init_from=init_from(out.parent, stage),
        tokenizer=DEMO,
        device=device,
        save_every=100,
    )
    replace(factory, sources=sources, transform=flip_and_resize).train(request, stage.train_config(seed))
