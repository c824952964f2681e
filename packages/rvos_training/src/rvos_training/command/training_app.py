"""The command line of a training program."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from program_kit.app import plain_app, user_errors
from program_kit.origin import Origin
from rvos_evaluation.errors import EvaluationError
from rvos_layers.errors import RVOSLayersError

from rvos_training.command.trainer_factory import TrainerFactory, TrainingRequest
from rvos_training.errors import TrainingError

DEVICES = ("auto", "cpu")
WORKERS = 4


def training_app(name: str, about: str, factory: TrainerFactory) -> typer.Typer:
    """The command `name`.

    Args:
        name: of the command.
        about: one sentence for `--help`.
        factory: how the model is trained. The first of its configurations of either kind is the default.
    """
    configs, recipes = list(factory.model.configs), list(factory.train_configs)
    app = plain_app(help=about)

    @app.command(help=about)
    def train(
        data: Annotated[Path, typer.Option(metavar="ROOT", help="Folder of the training data.")],
        out: Annotated[
            Path, typer.Option(help="Folder for checkpoints, logs and weights; resumes the training in it.")
        ],
        recipe: Annotated[str, typer.Option(metavar="|".join(recipes), help="What to train on, and how.")] = recipes[0],
        config: Annotated[
            str | None,
            typer.Option(
                metavar="|".join(configs),
                help="Configuration of the model.",
                show_default=f"{configs[0]}; the one that --checkpoint names",
            ),
        ] = None,
        backbone_weights: Annotated[
            str | None, typer.Option(metavar="FILE|random", help="Video-Swin weights from Kinetics to start from.")
        ] = None,
        text_encoder: Annotated[
            str | None, typer.Option(metavar="FOLDER|ID|random", help="RoBERTa to start from, e.g. roberta-base.")
        ] = None,
        checkpoint: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Weights of the whole network to start from, instead of these two."),
        ] = None,
        tokenizer: Annotated[str, typer.Option(help="Folder or hub name of the tokenizer.")] = "auto",
        epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
        steps: Annotated[int | None, typer.Option(min=1, help="Stop after this many steps.")] = None,
        batch_size: Annotated[
            int | None, typer.Option("--batch", min=1, help="Clips of one process at a time.")
        ] = None,
        gradient_accumulation_steps: Annotated[
            int | None, typer.Option("--accumulation", min=1, help="Batches to one step.")
        ] = None,
        frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip, instead of the recipe's.")] = None,
        lr: Annotated[
            float | None, typer.Option(metavar="RATE", help="Learning rate, instead of the recipe's.")
        ] = None,
        backbone_lr: Annotated[float | None, typer.Option(metavar="RATE", help="Of the backbone.")] = None,
        text_encoder_lr: Annotated[
            float | None, typer.Option(metavar="RATE", help="Of the text encoder; 0 freezes it.")
        ] = None,
        lr_milestones: Annotated[
            str | None,
            typer.Option(metavar="EPOCH,...", help="Epochs after which all learning rates are divided by ten."),
        ] = None,
        short_side: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Short side of frames.")] = None,
        precision: Annotated[str | None, typer.Option(metavar="no|bf16|fp16", help="Mixed precision.")] = None,
        faithful: Annotated[
            bool, typer.Option("--faithful", help="Bring back what looks like faults of the published training.")
        ] = False,
        seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
        device: Annotated[str, typer.Option(metavar="auto|cpu", help="Where to compute.")] = "auto",
        workers: Annotated[
            int | None,
            typer.Option(min=0, help="Processes that read samples ahead; by default 4, or fewer on fewer cores."),
        ] = None,
        save_every: Annotated[int, typer.Option(min=1, metavar="STEPS", help="Steps between checkpoints.")] = 500,
    ) -> None:
        named = None if checkpoint is None else _named_config(checkpoint, configs)
        config = config or named or configs[0]
        for option, value, known in (
            ("config", config, configs),
            ("recipe", recipe, recipes),
            ("device", device, DEVICES),
        ):
            if value not in known:
                raise typer.BadParameter(f"--{option} {value}: expected one of {', '.join(known)}")
        request = TrainingRequest(
            data=data,
            out=out,
            train_config=recipe,
            config=config,
            checkpoint=checkpoint,
            **_initial_weights(checkpoint, backbone_weights, text_encoder),
            tokenizer=tokenizer,
            device=device,
            workers=min(WORKERS, _cores()) if workers is None else workers,
            save_every=save_every,
            changes={
                "epochs": epochs,
                "steps": steps,
                "batch_size": batch_size,
                "gradient_accumulation_steps": gradient_accumulation_steps,
                "frames": frames,
                "lr": lr,
                "backbone_lr": backbone_lr,
                "text_encoder_lr": text_encoder_lr,
                "lr_milestones": _milestones(lr_milestones),
                "short_side": short_side,
                "precision": precision,
                "faithful": faithful or None,
                "seed": seed,
            },
        )
        _run(name, request, factory)

    return app


def _named_config(checkpoint: Path, configs: list[str]) -> str | None:
    """The configuration that weights name; None where they name none of the model's."""
    origin = Origin.read(checkpoint)
    return origin.config if origin is not None and origin.config in configs else None


def _milestones(epochs: str | None) -> tuple[int, ...] | None:
    """The epochs of the option `--lr-milestones`."""
    if epochs is None:
        return None
    try:
        return tuple(int(epoch) for epoch in epochs.split(",") if epoch)
    except ValueError as error:
        raise typer.BadParameter(f"--lr-milestones {epochs}: expected epochs with commas between them") from error


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _initial_weights(checkpoint: Path | None, backbone_weights: str | None, text_encoder: str | None) -> dict[str, Any]:
    """The weights to start from, which the user must choose."""
    if checkpoint is not None:
        if backbone_weights is not None or text_encoder is not None:
            raise typer.BadParameter("--checkpoint holds the whole network; omit --backbone-weights and --text-encoder")
        return {}
    if backbone_weights is None or text_encoder is None:
        raise typer.BadParameter(
            "give the weights to start from: --backbone-weights FILE and --text-encoder FOLDER (either may be "
            "`random`), or --checkpoint FILE"
        )
    return {"backbone_weights": backbone_weights, "text_encoder": text_encoder}


def _run(name: str, request: TrainingRequest, factory: TrainerFactory) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # reading processes are forked
    try:
        config = factory.train_config(request)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    continues = "the same command resumes from the last checkpoint"
    with user_errors(name, TrainingError, RVOSLayersError, EvaluationError, continues=continues):
        factory.train(request, config)
