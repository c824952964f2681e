"""From drawn videos to trained weights, one stage after the other. What is there already is not done again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from mask_interchange import open_dataset
from program_kit.weights import BundledWeights
from rvos_synthetic import write_dataset
from rvos_training.command.trainer_factory import TrainingProgram, TrainingRequest, flip_and_resize
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import AnnotatedVideos, DataParts
from rvos_training.data.object_presence import Presence
from rvos_training.loop.train_config import Recipe

from demo_weights.clips import RandomClips
from demo_weights.stages import EPOCHS, SEED, SIZE, STAGES, VIDEOS, PropagationStage, Stage, is_propagator
from demo_weights.variants import VARIANTS, shipped_variant, variant

DEMO = "demo"  # tokenizer
BEST = "best.safetensors"


def write_data(root: Path, videos: Mapping[str, int] = VIDEOS) -> None:
    """Draw the videos of every split that are not there yet."""
    for split, count in videos.items():
        write_dataset(root, split, count, size=SIZE)


def split_of(root: Path, split: str) -> AnnotatedVideos:
    """A split of the drawn videos."""
    return AnnotatedVideos(open_dataset(root, split), root / split / "Annotations")


def shipped(model: str) -> BundledWeights:
    """Where a package keeps its weights."""
    if model in VARIANTS:
        return shipped_variant(model)
    if is_propagator(model):
        from demo_weights.propagators import shipped_propagator

        return shipped_propagator(model)
    return import_module(f"{model}.bundled").BUNDLED


def package(model: str) -> str:
    """The package that a model is trained by."""
    return "aot_deaot" if is_propagator(model) else variant(model).package


def best_weights(out: Path, stages: Sequence[Stage | PropagationStage]) -> Path | None:
    """The best weights of the last stage that has any; None before the first score."""
    found = [out / stage.name / BEST for stage in stages]
    return next((path for path in reversed(found) if path.is_file()), None)


def relative_weights(out: Path, stage: Stage | PropagationStage) -> Path | None:
    """The weights of another model that a stage starts with; `out` is the folder of the stage's model."""
    return None if stage.relative is None else out.parent / stage.relative / BEST


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
    """Train a model through its stages; a training that is there goes on.

    Args:
        model: one of STAGES.
        data: folder of `write_data`.
        out: folder for the stages' trainings.
        stages: names of those to go through, all by default; the first of them goes on from the best weights of the
            stages before it, where there are any.
        share: part of every stage's samples to train on.
        device: as of training programs.
        seed: of weights and order.

    Returns:
        the weights of the last stage that scored best on the validation videos.

    Raises:
        TrainingError: `out` holds a training under other settings.
    """
    for place, stage in enumerate(STAGES[model]):
        if stages is None or stage.name in stages:
            start = best_weights(out, STAGES[model][:place])
            if isinstance(stage, PropagationStage):
                from demo_weights.propagators import train_propagator

                relative = relative_weights(out, stage)
                train_propagator(model, stage.recipe(share, seed), start, relative, data, out / stage.name, device)
            else:
                _train_stage(model, stage, start, data, out / stage.name, share, device, seed)
    best = best_weights(out, STAGES[model])
    assert best is not None
    return best


def _train_stage(
    model: str, stage: Stage, start: Path | None, data: Path, out: Path, share: float, device: str, seed: int
) -> None:
    samples = max(stage.batch, round(stage.samples * share / EPOCHS))

    def sources(parts: DataParts, presence: Presence, recipe: Recipe) -> list[ClipSource]:
        return [RandomClips(parts.videos, presence, recipe.frames, samples, stage.sentences)]

    network = variant(model)
    factory: TrainingProgram = import_module(f"{network.package}.train.trainer").FACTORY
    request = TrainingRequest(
        data=data,
        out=out,
        recipe=stage.name,
        config=network.config,
        checkpoint=start,
        relative=relative_weights(out.parent, stage),
        tokenizer=DEMO,
        device=device,
        save_every=100,
    )
    replace(factory, sources=sources, transform=flip_and_resize).train(request, stage.recipe(seed))
