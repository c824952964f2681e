"""Trained weights into the package that ships them: half precision, scored on the test videos, with a model card."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from mask_interchange import MaskRun, open_dataset
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.writing import write_checkpoint
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Evaluation, Means, evaluate_run
from rvos_synthetic import EDITION

from demo_weights.errors import DemoWeightsError
from demo_weights.results import Step
from demo_weights.stages import (
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
from demo_weights.training import BEST, shipped
from demo_weights.variants import variant

LARGEST = 4_000_000  # bytes that a package may ship
AGREED = "_agreed"  # how runs of the recipe end that have the masks of another one and other key frames
SENTENCES = "expressions of the closed vocabulary of these videos; other words are accepted but unknown."
MASKS = """the ground truth mask of every object on the frame that first shows it; in training, of every object on the
  first frame of a clip."""
DROPPING = "every rate a tenth in the last third of a stage, unless it was ended before"
FALLING = "rates that fall from epoch to epoch"
LARGEST_HALF = torch.finfo(torch.float16).max


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What a stage's log tells about its best weights.

    Attributes:
        stage: the stage.
        steps: of the optimizer, up to these weights.
        seconds: spent on them.
        best: their J&F on the validation videos; 0 for encoders, which are not scored.
    """

    stage: AnyStage
    steps: int
    seconds: float
    best: float

    @classmethod
    def read(cls, stage: AnyStage, folder: Path) -> "StageFacts":
        """From a training's folder."""
        entries = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        scored = [entry for entry in entries if entry["event"] == "validation"]
        best = max(scored, key=lambda entry: entry["J&F"] if "J&F" in entry else -entry["epoch_loss"])
        steps = [entry for entry in entries if entry["event"] == "train" and entry["step"] <= best["step"]]
        seconds = sum(entry["seconds"] for entry in steps)
        return cls(stage=stage, steps=len(steps), seconds=seconds, best=best.get("J&F", 0.0))


def ship(model: str, data: Path, work: Path) -> Means:
    """Put the best weights so far into the package, score them on the test videos and write the card.

    Raises:
        DemoWeightsError: nothing is trained yet, or the weights are too large.
    """
    facts = best_stages(model, work)
    if not facts:
        raise DemoWeightsError(f"{work / model}: nothing is trained and scored yet; run `demo-weights train {model}`")
    target = shipped(model).path
    write_half(work / model / facts[-1].stage.name / BEST, target)
    means = score(model, data, work).overall
    target.with_suffix(".md").write_text(card(model, facts, means, target.stat().st_size), encoding="utf-8")
    return means


def best_stages(model: str, work: Path) -> list[StageFacts]:
    """The stages that were trained and scored, up to the one whose weights scored best on the validation videos."""
    folders = {stage: work / model / stage.name for stage in STAGES[model]}
    facts = [StageFacts.read(stage, folder) for stage, folder in folders.items() if (folder / BEST).is_file()]
    best = max(facts, key=lambda one: one.best, default=None)
    return facts[: facts.index(best) + 1] if best and best.best else []


def write_half(source: Path, target: Path) -> None:
    """Write converted weights in half precision.

    Raises:
        DemoWeightsError: the file is not one of this workspace, or it or a number in it is too large.
    """
    checkpoint = read_checkpoint(source)
    if checkpoint.origin is None:
        raise DemoWeightsError(f"{source}: expected a weights file of one of the programs, found another")
    state = {}
    for name, tensor in checkpoint.state.items():
        if tensor.is_floating_point() and not tensor.abs().max() <= LARGEST_HALF:
            raise DemoWeightsError(f"{source}: {name} has numbers that half precision cannot hold")
        state[name] = tensor.half() if tensor.is_floating_point() else tensor
    size = sum(tensor.nbytes for tensor in state.values())
    if size > LARGEST:
        raise DemoWeightsError(f"{source}: {size} bytes in half precision, more than the {LARGEST} that may be shipped")
    write_checkpoint(target, state, replace(checkpoint.origin, source_sha256=checkpoint.sha256))


def score(model: str, data: Path, work: Path) -> Evaluation:
    """Scores of a program with its shipped weights, run on the test videos as its users run it.

    A propagator gets the ground truth of the first frame that shows each object.
    """
    dataset = open_dataset(data, "test")
    sha256 = read_checkpoint(shipped(model).path).sha256
    out = work / "test" / f"{model}-{sha256[:8]}"
    network = variant(model)
    source = ["--dataset", data, "--split", "test", "--out", out]
    if is_propagator(model):
        from demo_weights.propagators import first_masks_run

        masks = first_masks_run(data, "test", work / "first_masks")
        command = [f"{model}-propagate", *source, "--masks", masks]
    else:
        command = [f"{network.package}-infer", *source, "--config", network.config]
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)
    return evaluate_run(MaskRun.open(out), open_annotations(data / "test" / "Annotations"), dataset=dataset)


def run_recipe(data: Path, work: Path) -> tuple[list[Step], dict[str, Evaluation]]:
    """What each part of the recipe `demo` adds on the test videos, and scores of the runs with new key frames."""
    runs, out = work / "test" / "recipe", work / "test" / "result"
    source = ["--dataset", data, "--split", "test", "--runs", runs]
    program = Path(sys.executable).with_name("fusion-core")
    subprocess.run([program, "run", "--recipe", "demo", *source, "--out", out], check=True)
    annotations, dataset = open_annotations(data / "test" / "Annotations"), open_dataset(data, "test")
    rows = json.loads((out / "ablation.json").read_text(encoding="utf-8"))

    def evaluated(run: str) -> Evaluation:
        return evaluate_run(MaskRun.open(runs / run), annotations, dataset=dataset)

    steps = [Step(row["label"], row["run"], evaluated(row["run"])) for row in rows]
    return steps, {run.name: evaluated(run.name) for run in sorted(runs.glob(f"*{AGREED}"))}


def card(model: str, facts: list[StageFacts], test: Means, size: int) -> str:
    """The model card, in Markdown."""
    rows = "\n".join(_row(model, one) for one in facts)
    input_, rates = (MASKS, FALLING) if is_propagator(model) else (SENTENCES, DROPPING)
    return f"""# {model}: demo weights

`{shipped(model).path.name}` ({size / 1e6:.1f} MB, half precision) holds a small network, configuration
`{variant(model).config}`. It shows that the program works, on synthetic videos. It has never seen a photograph: on real
videos its masks mean nothing.

- Data: {VIDEOS["train"]} training videos of `rvos_synthetic`, edition {EDITION}: {SIZE[1]}x{SIZE[0]} pixels, 12 frames.
  No other data. Training started from {_origin(facts)}.
- Given beside frames: {input_}
- Training: seed {SEED}, the program's own trainer and losses{_additions(facts)}; {rates}.
  The weights are those of the best score on {VIDEOS["valid"]} validation videos.

| stage | short side | frames | batch | steps | clips seen, of the recipe's | rate | time | J&F, validation |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Scores on the {VIDEOS["test"]} videos of the test split, which were used for no choice:

| J&F | J | F |
| --- | --- | --- |
| {100 * test.jf:.1f} | {100 * test.j:.1f} | {100 * test.f:.1f} |

Made by `uv run --all-packages demo-weights train {model}`, with `--stages` and `--share` where not all
stages or clips are listed above. License as of the program.
"""


def _origin(facts: list[StageFacts]) -> str:
    """What the weights were before the first stage that was trained."""
    other = facts[0].stage.init_from if facts else None
    if other is None:
        return "random weights"
    model, _, stage = other.partition("/")
    if stage == SHIPPED:
        return f"the weights that {model} shipped before (`git log` of this file)"
    return f"what it has in common with `{other}` of this tool"


def _additions(facts: list[StageFacts]) -> str:
    """What some stages add to the program's own losses."""
    encoders = [one.stage.name for one in facts if isinstance(one.stage, EncoderStage)]
    choices = [one.stage.name for one in facts if isinstance(one.stage, Stage) and one.stage.choice]
    found = ""
    if encoders:
        found += f", beside them words, looks and choices of objects without masks ({', '.join(encoders)})"
    if choices:
        found += f", beside them the choice among a frame's objects ({', '.join(choices)})"
    return found


def _row(model: str, facts: StageFacts) -> str:
    stage = facts.stage
    short_side = shipped(model).short_side if isinstance(stage, PropagationStage) else stage.short_side
    cells = (
        stage.name,
        short_side,
        1 if isinstance(stage, EncoderStage) else stage.frames,
        stage.batch_size,
        facts.steps,
        f"{facts.steps * stage.batch_size} of {stage.samples}",
        _rates(stage),
        f"{facts.seconds / 60:.0f} min",
        "not scored" if isinstance(stage, EncoderStage) else f"{100 * facts.best:.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _rates(stage: AnyStage) -> str:
    if isinstance(stage, Stage) and stage.text_encoder_lr is not None:
        return f"{stage.lr:g}, text encoder {stage.text_encoder_lr:g}"
    return f"{stage.lr:g}"
