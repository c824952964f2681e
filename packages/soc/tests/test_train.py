"""The command `soc-train` on synthetic videos: from files to weights, killed and resumed, in two processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mask_interchange import MaskRun, open_dataset
from PIL import Image
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_layers.blocks.attention import Attention
from rvos_layers.blocks.heads import MLP
from rvos_layers.encoders.video_swin import StochasticDepth
from rvos_synthetic.dataset import write_dataset
from rvos_training.command.trainer_factory import TrainingRequest
from soc import cli
from soc.config import CONFIGS
from soc.model import SOC
from soc.predict import SOCPredictor
from soc.train import trainer
from soc.train.configs import TRAIN_CONFIGS
from torch import nn
from typer.testing import CliRunner

STEPS = 6
SMALL = [
    *("--config", "tiny", "--recipe", "videos", "--backbone-weights", "random", "--text-encoder", "random"),
    *("--short-side", "32", "--device", "cpu", "--workers", "0", "--save-every", "2", "--steps", str(STEPS)),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_dataset(root, "train", 2, size=(32, 48), frames=8)
    write_dataset(root, "valid", 1, size=(32, 48), frames=3)
    return root


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    result = invoke("--data", data, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out


def invoke(*arguments: object):
    return CliRunner().invoke(trainer.app, [*map(str, arguments)])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "soc.train", *map(str, arguments)]


def losses(out: Path) -> list[tuple[str, int, object]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(line["event"], line["step"], line.get("loss", line.get("J&F"))) for line in lines]


def test_training_writes_log_checkpoints_and_weights(trained):
    assert [step for event, step, _ in losses(trained) if event == "train"] == list(range(1, STEPS + 1))
    validations = [value for event, _, value in losses(trained) if event == "validation"]
    assert validations
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in validations)
    assert (trained / "checkpoints" / f"step-{STEPS:07d}.pt").is_file()
    assert list((trained / "tensorboard").iterdir())


def test_the_loss_falls(data, tmp_path):
    seed = ("--seed", 0)  # whose first weights are far from what the first steps reach
    result = invoke("--data", data, "--out", tmp_path, *SMALL[:-1], 24, *seed)
    assert result.exit_code == 0, result.output
    values = [value for event, _, value in losses(tmp_path) if event == "train"]
    assert sum(values[-6:]) < 0.8 * sum(values[:6])


def test_bfloat16_changes_the_loss_little(data, trained, tmp_path):
    arguments = command("--data", data, "--out", tmp_path, *SMALL[:-1], "1", "--precision", "bf16")
    subprocess.run(arguments, check=True)  # a process keeps the precision it began with
    [half, *_], [whole, *_] = losses(tmp_path), losses(trained)
    assert half != whole
    assert half[2] == pytest.approx(whole[2], rel=0.02)


def test_killed_at_any_moment_it_resumes_with_the_same_losses(data, trained, tmp_path):
    process = subprocess.Popen(command("--data", data, "--out", tmp_path, *SMALL), stderr=subprocess.PIPE)
    log = tmp_path / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    result = invoke("--data", data, "--out", tmp_path, *SMALL)
    assert result.exit_code == 0, result.output
    assert "resuming after step" in result.output
    assert losses(tmp_path) == losses(trained)
    for name in ("last.safetensors", "best.safetensors"):
        states = [read_checkpoint(out / name).state for out in (tmp_path, trained)]
        assert all(torch.equal(states[0][entry], states[1][entry]) for entry in states[1])


def test_two_processes_share_the_work(data, tmp_path):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--standalone",
        "--local_addr",
        "127.0.0.1",
    ]
    arguments = command("--data", data, "--out", tmp_path, *SMALL[:-1], "2")[1:]
    result = subprocess.run([*launch, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert [step for event, step, _ in losses(tmp_path) if event == "train"] == [1, 2]
    state = torch.load(tmp_path / "checkpoints" / "step-0000002.pt", weights_only=True)
    assert state["settings"]["processes"] == 2
    first, second = (one["torch"] for one in state["random"])
    assert not torch.equal(first, second), "every process has its own dropout"


def test_inference_takes_trained_weights(data, trained, tmp_path):
    """Configuration, tokenizer and frame size stand in the file."""
    run = tmp_path / "run"
    arguments = ["--dataset", data, "--split", "valid", "--out", run, "--device", "cpu"]
    arguments += ["--checkpoint", trained / "last.safetensors"]
    result = CliRunner().invoke(cli.main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "last.safetensors (trained with recipe videos, tokenizer bytes, precision no)" in result.output
    masks = MaskRun.open(run)
    (video,) = masks.videos()
    [step] = [step for event, step, _ in losses(trained) if event == "validation"][-1:]
    validated = MaskRun.open(trained / "validation" / f"step-{step:07d}").read(video)
    assert masks.read(video).tracks == validated.tracks
    predictor = SOCPredictor.load(trained / "last.safetensors", device="cpu")
    assert predictor.resize.short == 32
    assert predictor.predict(open_dataset(data, "valid").videos[video]).tracks == validated.tracks


def test_weights_must_be_chosen(data, tmp_path):
    result = invoke("--data", data, "--out", tmp_path, "--config", "tiny")
    assert result.exit_code == 2
    assert "--backbone-weights FILE and --text-encoder FOLDER" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config", "huge"], "expected one of joint-base, tiny"),
        (["--recipe", "soup"], "expected one of joint, joint-refcoco, videos"),
        (["--device", "gpu"], "expected one of auto, cpu"),
        (["--precision", "half"], "precision must be one of no, bf16, fp16"),
        (["--precision", "fp16"], "precision fp16: "),
        (["--lr", "0"], "lr and max_grad_norm must be positive"),
        (["--lr-milestones", "2;4"], "expected epochs with commas between them"),
        (["--lr-milestones", "4,2"], "lr_milestones must be increasing epochs"),
    ],
)
def test_wrong_choices_are_explained(data, tmp_path, change, message):
    result = invoke("--data", data, "--out", tmp_path, *SMALL, *change)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_rates_and_frames_are_options(data, tmp_path):
    rates = ["--lr", "3e-4", "--backbone-lr", "2e-5", "--text-encoder-lr", "0", "--lr-milestones", "1"]
    rates += ["--frames", "3", "--steps", "1"]
    result = invoke("--data", data, "--out", tmp_path, *SMALL, *rates)
    assert result.exit_code == 0, result.output
    state = torch.load(tmp_path / "checkpoints" / "step-0000001.pt", weights_only=True)
    assert [group["lr"] for group in state["parts"]["optimizer"]["param_groups"]] == [3e-4, 2e-5]
    assert state["settings"]["frames"] == 3
    assert state["settings"]["trains the text encoder"] is False
    assert tuple(state["changeable"]["lr_milestones"]) == (1,)


def test_missing_data_is_listed(tmp_path):
    arguments = [*SMALL, "--recipe", "joint"]
    result = invoke("--data", tmp_path, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    for name in ("refcoco", "refcoco+", "refcocog", "grefcoco"):
        assert f"instances_{name}_train.json" in result.output
    assert "train2014" in result.output
    assert "meta_expressions.json" in result.output
    assert not (tmp_path / "out").exists()


def test_the_joint_recipe_mixes_videos_and_images(tmp_path):
    write_dataset(tmp_path / "ref-youtube-vos", "train", 1, size=(32, 48), frames=8)
    images = tmp_path / "coco" / "train2014"
    images.mkdir(parents=True)
    square = [[8, 8, 24, 8, 24, 24, 8, 24]]
    for name in TRAIN_CONFIGS["joint"].images:
        Image.effect_noise((48, 32), 60).convert("RGB").save(images / f"{name}.jpg")
        entry = {"id": 1, "file_name": f"{name}.jpg", "height": 32, "width": 48, "caption": f"the {name} square"}
        content = {"images": [entry], "annotations": [{"id": 1, "image_id": 1, "segmentation": square}]}
        (tmp_path / "coco" / f"instances_{name}_train.json").write_text(json.dumps(content))
    result = invoke("--data", tmp_path, "--out", tmp_path / "out", *SMALL, "--recipe", "joint", "--steps", "3")
    assert result.exit_code == 0, result.output
    assert [step for event, step, _ in losses(tmp_path / "out") if event == "train"] == [1, 2, 3]
    file = tmp_path / "coco" / "instances_grefcoco_train.json"
    file.write_text(file.read_text().replace("the grefcoco square", "another square"))
    result = invoke("--data", tmp_path, "--out", tmp_path / "out", *SMALL, "--recipe", "joint", "--steps", "6")
    assert result.exit_code == 2
    assert "data, instances_grefcoco_train.json is" in result.output
    assert "data, instances_refcoco_train.json" not in result.output


def test_faults_of_the_data_are_told_before_the_first_step(tmp_path):
    write_dataset(tmp_path, "train", 3, size=(32, 48), frames=8)
    removed = sorted((tmp_path / "train" / "JPEGImages").glob("*/*"))[-1]
    removed.unlink()
    result = invoke("--data", tmp_path, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert f"video '{removed.parent.name}', expressions " in result.output
    assert not (tmp_path / "out" / "log.jsonl").exists()
    write_dataset(again := tmp_path / "again", "train", 1, size=(32, 48), frames=8)
    meta = again / "meta_expressions" / "train" / "meta_expressions.json"
    content = json.loads(meta.read_text())
    (video,) = content["videos"]
    next(iter(content["videos"][video]["expressions"].values()))["exp"] = "very " * 200 + "long"
    meta.write_text(json.dumps(content))
    result = invoke("--data", again, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 2
    assert f"video '{video}', expression '0': expression 'very very" in result.output
    assert not (tmp_path / "out" / "log.jsonl").exists()


def test_the_joint_recipe_is_the_published_one():
    config = TRAIN_CONFIGS["joint"]
    optimisation = config.optimisation
    assert (config.epochs, config.batch_size, config.frames, config.seed) == (30, 1, 8, 42)
    assert config.images == ("refcoco", "refcoco+", "refcocog", "grefcoco")
    assert (config.resize.short, config.resize.longest) == (360, 640)
    assert (optimisation.lr, optimisation.backbone_lr, optimisation.text_encoder_lr) == (1e-4, 1e-5, 5e-6)
    assert (optimisation.weight_decay, optimisation.max_grad_norm, optimisation.lr_milestones) == (1e-4, 0.1, (20,))
    assert not config.faithful
    assert config.precision == "no"


@pytest.mark.parametrize("faithful", [False, True])
def test_faithful_reaches_transform_and_losses(faithful):
    factory = trainer.FACTORY
    changes = {"faithful": faithful}
    request = TrainingRequest(data=Path(), out=Path(), train_config="joint", config="tiny", changes=changes)
    config = factory.train_config(request)
    assert factory.transform(config).faithful is faithful
    assert factory.with_losses(nn.Module(), config.faithful).criterion.matcher.faithful is faithful


def test_dropout_is_where_the_published_model_has_it():
    with torch.device("meta"):
        model = SOC(CONFIGS["joint-base"])
    rates: dict[str, set[float]] = {}
    for name, module in model.named_modules():
        match module:
            case nn.Dropout() | StochasticDepth():
                rate = module.p
            case Attention():
                rate = module.dropout
            case _:
                continue
        part = "backbone depth" if isinstance(module, StochasticDepth) else ".".join(name.split(".")[:2])
        rates.setdefault(part, set()).add(round(rate, 6))
    depths = rates.pop("backbone depth")
    assert depths == {round(0.2 * block / 23, 6) for block in range(24)}
    assert rates.pop("queries.words") == rates.pop("alignment.attention") == {0.0}
    assert {rate for found in rates.values() for rate in found} == {0.1}
    assert {part.split(".")[0] for part in rates} == {"text", "queries", "cluster"}


def test_initial_weights_are_drawn_as_published():
    torch.manual_seed(0)
    model = SOC(CONFIGS["tiny"])
    assert all(head.bias.item() == pytest.approx(-4.595) for head in model.class_heads)
    for layer, head in enumerate(model.queries.box_heads):
        assert isinstance(head, MLP)
        assert not head.last.weight.any()
        assert head.last.bias.tolist() == ([0, 0, -2, -2] if layer == 0 else [0] * 4)
    for table in (model.queries.query_embed, model.cluster.query_position, model.cluster.frame_position):
        assert 0.85 < table.weight.std().item() < 1.15
    assert 0.85 < model.queries.transformer.level_embed.std().item() < 1.15
    for part in (model.cluster.decoder, model.cluster.exchanges, model.controller):
        for name, parameter in part.named_parameters():
            if parameter.ndim > 1:
                rows, columns = parameter.shape
                bound = (6 / (rows + columns)) ** 0.5
                assert 0.95 * bound < float(parameter.abs().max()) <= bound, name
