"""The loop: stopping and resuming, accumulation, logs, what is kept. With a network of a few numbers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from mask_interchange.errors import RunBusyError
from mask_interchange.files import lock_folder
from rvos_evaluation.evaluation import Means
from rvos_layers.encoders.tokenizer import Tokenizer, encode_bytes
from rvos_layers.inference.config import ResizeRule
from rvos_training.data.data_check import check_training_videos
from rvos_training.data.data_parts import open_parts
from rvos_training.data.read_once import ReadOnce
from rvos_training.data.referring_clips import ReferringClips
from rvos_training.data.training_data import TrainingData
from rvos_training.data.transforms import FlipAndResize
from rvos_training.errors import TrainingError
from rvos_training.loop.checkpoints import Checkpoints, Position, TrainingState
from rvos_training.loop.devices import open_devices
from rvos_training.loop.model_with_loss import ReferringModelWithLoss
from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.loop.random_state import fixed_order, random_state, restore_random_state, seed_everything
from rvos_training.loop.train_config import ReferringTrainConfig
from rvos_training.loop.trainer import Trainer
from rvos_training.losses.criterion import Criterion, all_frames
from rvos_training.losses.mask_views import every_fourth_pixel
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions
from rvos_training.losses.terms import LossWeights
from synthetic_data import write_split
from torch import nn

QUERIES, FRAMES = 3, 4
CONFIG = ReferringTrainConfig(
    frames=FRAMES,
    resize=ResizeRule(short=16, longest=None),
    epochs=2,
    batch_size=2,
    optimisation=MultiStepOptimisation(
        lr=1e-2, backbone_lr=1e-3, text_encoder_lr=None, weight_decay=1e-4, max_grad_norm=0.1, lr_milestones=(1,)
    ),
)


class ToyNetwork(nn.Module):
    """Looks at mean colours only; with dropout, so that random generators matter."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Linear(3, QUERIES * 5)
        self.words = nn.Embedding(320, 1)
        self.dropout = nn.Dropout(0.3)

    def encode_video(self, frames, padding_mask=None):
        return frames

    def encode_text(self, tokens):
        words = ~tokens.padding_mask
        return (self.words(tokens.input_ids)[..., 0] * words).sum(1) / words.sum(1)


def layer_predictions(network, frames, expressions):
    batch, length = frames.shape[:2]
    seen = network.dropout(network.colours(frames.mean((3, 4)))).view(batch, length, QUERIES, 5)
    seen = seen + expressions[:, None, None, None]
    maps = frames[:, :, :1, 2::4, 2::4]

    def predict_masks(queries):
        chosen = seen[..., 4].gather(2, queries[:, None].expand(-1, length, -1))
        return chosen[..., None, None] * maps

    return [Predictions(logits=seen[..., :1], boxes=seen[..., :4].sigmoid(), predict_masks=predict_masks)]


WEIGHTS = LossWeights(label=2, box=5, giou=2, focal=2, dice=5)
CRITERION = Criterion(
    matcher=Matcher(cost_weights=WEIGHTS, view=every_fourth_pixel), loss_weights=WEIGHTS, count=all_frames
)  # fmt: skip


class StopError(Exception):
    """Stands for whatever ends a process."""


class Breaking(TrainingData):
    """Hands out so many batches, then breaks."""

    left = 10**9

    def __getitem__(self, request):
        if self.left == 0:
            raise StopError
        self.left -= 1
        return super().__getitem__(request)


@pytest.fixture
def clips(tmp_path):
    write_split(tmp_path / "data", "train", {"a": 9, "b": 4, "c": 5})
    videos = open_parts(tmp_path / "data", ()).videos
    presence = check_training_videos(videos, ReadOnce(tmp_path / "presence.json"))
    return ReferringClips(videos.dataset, videos.annotations, presence, FRAMES)  # 6 + 2 + 4 samples


@pytest.fixture
def make(clips):
    def trainer(out: Path, config: ReferringTrainConfig = CONFIG, left: int = 10**9, **changes) -> Trainer:
        AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision for a process's life
        torch.manual_seed(0)
        network = ToyNetwork()
        tokenizer = Tokenizer(encode_bytes, vocab_size=320, max_tokens=200)
        data = Breaking([clips], FlipAndResize(resize=config.resize), tokenizer, config.seed, multiple=4)
        data.left = left
        return Trainer(
            ReferringModelWithLoss(network, layer_predictions, CRITERION),
            data,
            config,
            out,
            Accelerator(cpu=True, mixed_precision=config.precision),
            **{"settings": {}, "save_weights": lambda path: path.write_bytes(b""), "save_every": 1} | changes,
        )

    return trainer


def test_two_trainings_do_not_share_a_folder(make, tmp_path):
    trainer = make(tmp_path)
    with lock_folder(tmp_path, shared=False), pytest.raises(RunBusyError, match="another folder with --out"):
        trainer.run()
    trainer.run()


def log_of(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def weights_of(trainer: Trainer) -> dict:
    return trainer.model.network.state_dict()


@pytest.mark.parametrize(("save_every", "stops"), [(1, range(1, 12)), (4, (2, 7, 11))])
def test_training_stopped_after_any_batch_gives_the_same_losses(make, tmp_path, save_every, stops):
    whole = make(tmp_path / "whole", save_every=save_every)
    whole.run()
    expected = log_of(tmp_path / "whole")
    assert len([line for line in expected if line["event"] == "train"]) == 12
    for stop in stops:
        out = tmp_path / f"stopped{stop}"
        with pytest.raises(StopError):
            make(out, left=stop, save_every=save_every).run()
        seed_everything(1000 + stop)  # the next process knows nothing of this one's generators
        resumed = make(out, save_every=save_every)
        resumed.run()
        assert log_of(out) == expected, f"stopped after {stop} batches"
        for name, value in weights_of(whole).items():
            assert torch.equal(value, weights_of(resumed)[name])


class WithAuxiliary(ReferringModelWithLoss):
    """Needs one more number for its losses."""

    def __init__(self, *parts):
        super().__init__(*parts)
        torch.manual_seed(1)
        self.auxiliary = nn.Linear(1, 1)

    def forward(self, batch):
        losses = super().forward(batch)
        return replace(losses, total=losses.total + (self.auxiliary(losses.total[None, None]) ** 2).sum())


def test_auxiliary_parts_are_trained_and_resumed_and_not_saved(make, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ReferringModelWithLoss", WithAuxiliary)
    whole = make(tmp_path / "whole")
    before = whole.model.auxiliary.weight.detach().clone()
    whole.run()
    after = whole.model.auxiliary.weight
    assert not torch.equal(before, after)
    with pytest.raises(StopError):
        make(tmp_path / "stopped", left=7).run()
    resumed = make(tmp_path / "stopped")
    resumed.run()
    assert torch.equal(resumed.model.auxiliary.weight, after)
    assert not [name for name in weights_of(whole) if "auxiliary" in name]


def test_lines_after_the_checkpoint_are_removed(make, tmp_path):
    make(tmp_path / "whole").run()
    with pytest.raises(StopError):
        make(tmp_path / "cut", left=7).run()
    with (tmp_path / "cut" / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "step": 8, "epoch": 1, "loss": 1.0}\n{"event": "tra')
    make(tmp_path / "cut").run()
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_a_stop_in_the_validation_does_not_lose_it(make, tmp_path):
    def scored(step, accelerator):
        return Means(j=0.1 + 0.01 * step, f=0.2)

    def broken(step, accelerator):
        raise StopError

    make(tmp_path / "whole", validate=scored).run()
    with pytest.raises(StopError):
        make(tmp_path / "stopped", validate=broken).run()
    make(tmp_path / "stopped", validate=scored).run()
    assert log_of(tmp_path / "stopped") == log_of(tmp_path / "whole")
    last = replace(CONFIG, steps=3)
    with pytest.raises(StopError):
        make(tmp_path / "end", config=last, validate=broken).run()
    make(tmp_path / "end", config=last, validate=scored).run()
    assert [line["step"] for line in log_of(tmp_path / "end") if line["event"] == "validation"] == [3]


def test_finished_training_does_nothing_more(make, tmp_path):
    make(tmp_path / "out").run()
    before = log_of(tmp_path / "out")
    again = make(tmp_path / "out", left=0)
    assert again.run().step == 12
    assert log_of(tmp_path / "out") == before


def test_more_epochs_may_be_added(make, tmp_path):
    make(tmp_path / "longer", config=replace(CONFIG, epochs=1)).run()
    make(tmp_path / "longer").run()
    make(tmp_path / "whole").run()
    assert log_of(tmp_path / "longer") == log_of(tmp_path / "whole")


def test_steps_end_training_early(make, tmp_path):
    assert make(tmp_path, config=replace(CONFIG, steps=8)).run().step == 8


def test_learning_rates_drop_at_milestones(make, tmp_path):
    make(tmp_path).run()
    rates = [line["rate"] for line in log_of(tmp_path) if line["event"] == "train"]
    assert rates == pytest.approx([1e-2] * 6 + [1e-3] * 6)


@pytest.mark.parametrize("stop", [4, 8])
def test_learning_rates_and_precision_may_change_on_the_way(make, tmp_path, capsys, stop):
    """Before and after the milestone."""
    make(tmp_path, config=replace(CONFIG, steps=stop)).run()
    changed = replace(CONFIG.optimisation, lr=4e-3, lr_milestones=(1, 2))
    make(tmp_path, config=replace(CONFIG, epochs=3, precision="bf16", optimisation=changed)).run()
    rates = [line["rate"] for line in log_of(tmp_path) if line["event"] == "train"]
    before, after = [1e-2] * 6 + [1e-3] * 6, [4e-3] * 6 + [4e-4] * 6 + [4e-5] * 6
    assert rates == pytest.approx(before[:stop] + after[stop:])
    said = capsys.readouterr().err
    assert "resuming with a change: precision is 'no' in the checkpoint and 'bf16' now" in said
    assert "resuming with a change: lr is 0.01 in the checkpoint and 0.004 now" in said
    with pytest.raises(TrainingError, match=r"weight_decay is 0\.0001 in the checkpoint and 0\.1 now"):
        make(tmp_path, config=replace(CONFIG, optimisation=replace(changed, weight_decay=0.1))).run()
    with pytest.raises(TrainingError, match="trains the text encoder is False in the checkpoint and True now"):
        make(tmp_path, config=replace(CONFIG, optimisation=replace(changed, text_encoder_lr=1e-5))).run()


@pytest.fixture
def no_state():
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_devices_of_a_training_are_said(no_state, capsys, monkeypatch):
    open_devices("cpu", "bf16")
    assert capsys.readouterr().err == "training in 1 process on cpu, bf16\n"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # as `accelerate launch --cpu --num_processes 2` leaves it
    monkeypatch.setenv("MASTER_PORT", "29500")
    AcceleratorState._reset_state(reset_partial_state=True)
    open_devices("cpu", "no")
    assert "asked for several processes and started one" in capsys.readouterr().err


def test_float16_is_not_for_processors(no_state):
    with pytest.raises(TrainingError, match=r"precision fp16: .*use bf16"):
        open_devices("cpu", "fp16")


def test_accumulated_batches_are_one_step(make, tmp_path):
    """Two clips in a batch, or one after the other: the same gradient, as all clips have equally many frames."""
    still = {"left": 10**9}
    together = make(tmp_path / "a", config=replace(CONFIG, batch_size=2, epochs=1), **still)
    apart = make(tmp_path / "b", config=replace(CONFIG, batch_size=1, gradient_accumulation_steps=2, epochs=1), **still)
    for trainer in (together, apart):
        trainer.model.network.dropout.p = 0.0
        assert trainer.run().step == 6
    for a, b in zip(log_of(tmp_path / "a"), log_of(tmp_path / "b"), strict=True):
        assert {**a, "event": 0} == pytest.approx({**b, "event": 0}, rel=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(make, tmp_path, workers):
    make(tmp_path / "alone", config=replace(CONFIG, epochs=1)).run()
    make(tmp_path / "helped", config=replace(CONFIG, epochs=1), workers=workers).run()
    assert log_of(tmp_path / "helped") == log_of(tmp_path / "alone")


def test_the_best_weights_are_those_of_the_best_score(make, tmp_path):
    scores = iter((0.3, 0.5, 0.4))
    saved: list[tuple[str, int]] = []
    trainer = make(
        tmp_path,
        config=replace(CONFIG, epochs=3),
        validate=lambda step, accelerator: Means(j=(score := next(scores)), f=score),
        save_weights=lambda path: saved.append((path.name, trainer.position.step)),
    )
    assert trainer.run().best == pytest.approx(0.5)
    assert saved == [("best.safetensors", 6), ("best.safetensors", 12), ("last.safetensors", 18)]


def test_without_a_score_the_epoch_of_the_lowest_loss_is_best(make, tmp_path):
    position = make(tmp_path).run()
    means = [line["epoch_loss"] for line in log_of(tmp_path) if line["event"] == "validation"]
    assert position.best == pytest.approx(-min(means))
    losses = [line["loss"] for line in log_of(tmp_path) if line["event"] == "train"]
    assert means[0] == pytest.approx(sum(losses[:6]) / 6)


def test_only_the_latest_checkpoints_stay(make, tmp_path):
    make(tmp_path, keep=2).run()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-0000011.pt", "step-0000012.pt"]


def test_other_settings_are_refused_by_name(make, tmp_path):
    make(tmp_path, config=replace(CONFIG, steps=2)).run()
    with pytest.raises(TrainingError, match="batch_size is 2 in the checkpoint and 1 now"):
        make(tmp_path, config=replace(CONFIG, batch_size=1)).run()
    with pytest.raises(TrainingError, match="config is None in the checkpoint and 'tiny' now"):
        make(tmp_path, settings={"config": "tiny"}).run()


def test_a_damaged_checkpoint_is_named(make, tmp_path):
    make(tmp_path, config=replace(CONFIG, steps=2)).run()
    damaged = tmp_path / "checkpoints" / "step-0000002.pt"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"step-0000002\.pt: not a readable checkpoint"):
        make(tmp_path).run()


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_checkpoint_with_lost_bytes_is_not_believed(make, tmp_path, place):
    make(tmp_path, config=replace(CONFIG, steps=2)).run()
    path = tmp_path / "checkpoints" / "step-0000002.pt"
    content = bytearray(path.read_bytes())
    start = int(place * len(content))
    assert any(content[start : start + 1000])
    content[start : start + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"step-0000002\.pt: not a readable checkpoint .*remove it to resume"):
        make(tmp_path).run()


def test_a_checkpoint_of_another_format_says_how_to_go_on(make, tmp_path):
    make(tmp_path, config=replace(CONFIG, steps=2)).run()
    path = tmp_path / "checkpoints" / "step-0000002.pt"
    torch.save({**torch.load(path, weights_only=True), "format_version": 1}, path)
    with pytest.raises(TrainingError, match="expected a checkpoint of format 3, found 1; finish this training with"):
        make(tmp_path).run()


@pytest.mark.parametrize("content", [{"format_version": 3}, {"format_version": 3, "settings": {}, "position": 3}])
def test_a_file_in_the_place_of_a_checkpoint_is_refused(make, tmp_path, content):
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "step-0000002.pt")
    with pytest.raises(TrainingError, match=r"step-0000002\.pt: not a checkpoint of a training"):
        make(tmp_path).run()


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    state = TrainingState(settings={}, changeable={}, position=Position(step=1), parts={}, random=[random_state()])
    checkpoints.save(state)

    def full_disk(content, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(TrainingError, match=r"step-0000002\.pt: cannot be written \(no space left\); the same command"):
        checkpoints.save(replace(state, position=Position(step=2)))
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001.pt"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from rvos_training.errors import TrainingError
from rvos_training.loop.checkpoints import Checkpoints, Position, TrainingState
from rvos_training.loop.training_log import TrainingLog

what, folder = sys.argv[1], Path(sys.argv[2])
parts = {"a": torch.zeros(100_000)}
state = TrainingState(settings={}, changeable={}, position=Position(step=1), parts=parts, random=[])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # bytes that any file may have: as if the disk were full
try:
    if what == "checkpoint":
        Checkpoints(folder).save(state)
    else:
        with TrainingLog(folder, step=0, total=9**9, validated=0) as log:
            for step in range(9**9):
                log.step(step, 0, {"loss": 0.1})
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["checkpoint", "log"])
def test_a_full_disk_is_said_with_the_path(tmp_path, what):
    pytest.importorskip("resource")
    command = [sys.executable, "-B", "-c", FULL_DISK, what, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    place = tmp_path / "step-0000001.pt" if what == "checkpoint" else tmp_path
    assert done.stdout.startswith(f"{place}: cannot be written ([Errno 27] File too large"), done.stderr
    assert "Traceback" not in done.stderr
    if what == "checkpoint":
        assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_names_its_clip(make, tmp_path):
    trainer = make(tmp_path)
    trainer.model.network.colours.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan, on video \w, expression"):
        trainer.run()


def test_a_broken_file_is_named(make, tmp_path):
    for frame in (tmp_path / "data" / "train" / "JPEGImages").rglob("*.jpg"):
        frame.write_bytes(b"")
    with pytest.raises(Exception, match=r"\.jpg"):
        make(tmp_path / "out").run()


def test_mixed_precision_trains(make, tmp_path):
    make(tmp_path, config=replace(CONFIG, epochs=1, precision="bf16")).run()
    assert all(0 < line["loss"] < 100 for line in log_of(tmp_path) if line["event"] == "train")


def test_random_generators_go_on():
    import random

    import numpy as np

    seed_everything(3)
    state = random_state()
    first = (random.random(), np.random.rand(), torch.rand(1).item())
    restore_random_state(state)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"precision": "half"}, "precision"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_training_configurations_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


@pytest.mark.parametrize("change", [{"lr": 0}, {"lr_milestones": (3, 2)}, {"weight_decay": -1}])
def test_optimisation_is_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG.optimisation, **change)


def test_sums_have_a_fixed_order_on_a_processor_and_only_while_training():
    """Regression: with two threads, a training that was stopped and one that was not differed in the last bit."""
    assert not torch.are_deterministic_algorithms_enabled()
    with fixed_order(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
    with fixed_order(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
