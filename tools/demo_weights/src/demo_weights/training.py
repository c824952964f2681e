"""From synthetic videos to trained weights, stage by stage. Finished stages are not trained again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mask_interchange import open_dataset
from program_kit.weights import BundledWeights
from rvos_synthetic import write_dataset
from rvos_training.command.trainer_factory import TrainerFactory, TrainingRequest, flip_and_resize
from rvos_training.data.clips import ClipSource
from rvos_training.data.data_parts import AnnotatedVideos, DataParts
from rvos_training.data.object_presence import Presence
from rvos_training.loop.contract import ModelWithLoss
from rvos_training.loop.devices import open_devices
from rvos_training.loop.train_config import ReferringTrainConfig
from rvos_training.loop.trainer import Trainer

from demo_weights.choice import GROUNDED, MEMORIES, ChoiceModelWithLoss
from demo_weights.clips import RandomClips
from demo_weights.encoders import EncodersWithLoss
from demo_weights.scenes import Scenes
from demo_weights.stages import (
    EPOCHS,
    SEED,
    SHIPPED,
    SIZE,
    STAGES,
    VIDEOS,
    AnyStage,
    EncoderStage,
    PropagationStage,
    Stage,
    is_propagator,
)
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


def best_weights(out: Path, stages: Sequence[AnyStage]) -> Path | None:
    """The best weights of the last stage that was trained; None where none was."""
    found = [out / stage.name / BEST for stage in stages]
    return next((path for path in reversed(found) if path.is_file()), None)


def init_from(out: Path, stage: AnyStage) -> Path | None:
    """The weights that a stage starts from if none before was trained; `out` is the folder of the stage's model."""
    if stage.init_from is None:
        return None
    model, _, name = stage.init_from.partition("/")
    return shipped(model).path if name == SHIPPED else out.parent / model / name / BEST


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
            elif isinstance(stage, EncoderStage):
                _train_encoders(model, stage, _request(model, stage, start, data, out, device), share, seed)
            else:
                _train_stage(model, stage, _request(model, stage, start, data, out, device), share, seed)
    best = best_weights(out, STAGES[model])
    assert best is not None
    return best


def _request(
    model: str, stage: Stage | EncoderStage, start: Path | None, data: Path, out: Path, device: str
) -> TrainingRequest:
    return TrainingRequest(
        data=data,
        out=out / stage.name,
        train_config=stage.name,
        config=variant(model).config,
        checkpoint=start,
        init_from=init_from(out, stage),
        tokenizer=DEMO,
        device=device,
        save_every=100,
    )


def _factory(model: str) -> TrainerFactory:
    return import_module(f"{variant(model).package}.train.trainer").FACTORY


def _samples(stage: Stage | EncoderStage, share: float) -> int:
    """Samples of an epoch."""
    return max(stage.batch_size, round(stage.samples * share / EPOCHS))


def _train_stage(model: str, stage: Stage, request: TrainingRequest, share: float, seed: int) -> None:
    factory, samples = _factory(model), _samples(stage, share)

    def sources(parts: DataParts, presence: Presence, config: ReferringTrainConfig) -> list[ClipSource]:
        return [RandomClips(parts.videos, presence, config.frames, samples, stage.pattern, stage.absent)]

    def with_losses(network: Any, faithful: bool) -> ModelWithLoss:
        own: Any = factory.with_losses(network, faithful)
        if stage.quality:
            own.criterion = replace(own.criterion, quality=True)
        if not stage.choice:
            return own
        return ChoiceModelWithLoss(own, MEMORIES.get(variant(model).package, GROUNDED), stage.choice)

    changed = replace(factory, sources=sources, transform=flip_and_resize, with_losses=with_losses)
    changed.train(request, stage.train_config(seed))


def _train_encoders(model: str, stage: EncoderStage, request: TrainingRequest, share: float, seed: int) -> None:
    factory, config = _factory(model), stage.train_config(seed)
    network = factory.network(request, seed)
    tokenizer = factory.model.tokenizer(DEMO, factory.model.configs[request.config].text)
    scenes = Scenes(
        split_of(request.data, "train"),
        tokenizer,
        samples=_samples(stage, share),
        expressions=stage.expressions,
        short_side=stage.short_side,
        seed=seed,
    )
    training = {"tokenizer": DEMO, "short_side": stage.short_side, "precision": config.precision, "recipe": stage.name}
    Trainer(
        EncodersWithLoss(network),
        scenes,
        config,
        request.out,
        open_devices(request.device, config.precision),
        settings={"config": request.config, "samples": scenes.samples},
        save_weights=lambda path: factory.model.save(path, network, request.config, training),
        save_every=request.save_every,
    ).run()
