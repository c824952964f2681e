"""The command, from a published checkpoint file to masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import find_cases, published_weights
from mask_interchange import MaskRun
from PIL import Image
from program_kit.torch.checkpoint.reading import read_checkpoint
from soc import cli
from soc.config import CONFIGS
from soc_cases import config_of
from typer.testing import CliRunner

[CASE] = [case for case in find_cases("soc", local=Path(__file__).parent / "goldens") if case.name == "tiny"]
VOCABULARY, POSITIONS = 320, 200  # room for one token a byte, which the case's own table does not have
GROWN = {
    "text_encoder.embeddings.word_embeddings.weight": VOCABULARY,
    "text_encoder.embeddings.position_embeddings.weight": POSITIONS,
}


@pytest.fixture(autouse=True)
def golden_sizes(monkeypatch):
    """The configuration `tiny` gets the sizes of the golden case, so that its published weights fit."""
    config = config_of(CASE.manifest["config"])
    text = replace(config.text, vocab_size=VOCABULARY, positions=POSITIONS)
    monkeypatch.setitem(CONFIGS, "tiny", replace(config, text=text))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    entries = [
        [name, [GROWN.get(name, shape[0]), *shape[1:]] if shape else shape, dtype, alias]
        for name, shape, dtype, alias in CASE.manifest["state_dict"]
    ]
    weights = published_weights(entries, CASE.manifest["overrides"], {})
    path = tmp_path / "joint_base.tar"
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    torch.save({"model_state_dict": state, "epoch": 29}, path)
    return path


@pytest.fixture
def frames(tmp_path) -> Path:
    folder = tmp_path / "walk"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    for t in range(3):
        Image.fromarray(np.roll(picture, 5 * t, axis=1)).save(folder / f"{t:05d}.png")
    return folder


def invoke(*arguments: object):
    return CliRunner().invoke(cli.main, [*map(str, arguments)])


def infer(frames: Path, out: Path, checkpoint: Path):
    return invoke(
        *("--video", frames, "-e", "the brown dog", "-e", "a dog turning", "--out", out, "--checkpoint", checkpoint),
        *("--config", "tiny", "--tokenizer", "bytes", "--short-side", 60, "--device", "cpu"),
    )


def test_a_published_and_its_converted_checkpoint_give_the_same_masks(frames, checkpoint, tmp_path):
    result = infer(frames, tmp_path / "published", checkpoint)
    assert result.exit_code == 0, result.output
    converted = tmp_path / "soc.safetensors"
    result = invoke("checkpoint", "convert", checkpoint, converted, "--config", "tiny")
    assert result.exit_code == 0, result.output
    assert infer(frames, tmp_path / "converted", converted).exit_code == 0
    runs = [MaskRun.open(tmp_path / name) for name in ("published", "converted")]
    assert runs[0].read("walk") == runs[1].read("walk")
    assert runs[0].manifest.checkpoint_sha256 == read_checkpoint(checkpoint).sha256
    first, second = runs[0].read("walk").tracks
    assert not np.array_equal(first.scores, second.scores)


def test_a_checkpoint_of_another_model_is_refused(frames, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    torch.save({name.replace("vita.", "mti."): tensor for name, tensor in state.items()}, checkpoint)
    result = infer(frames, tmp_path / "run", checkpoint)
    assert result.exit_code == 2
    assert "joint_base.tar: does not fit the model" in result.output
    assert "mti.fq_pos.weight [5, 128]" in result.output


def test_a_tokenizer_that_cannot_be_had(frames, checkpoint, tmp_path):
    result = invoke(
        *("--video", frames, "-e", "a dog", "--out", tmp_path / "run", "--checkpoint", checkpoint),
        *("--config", "tiny", "--tokenizer", tmp_path, "--device", "cpu"),
    )
    assert result.exit_code == 2
    assert (
        "has no vocab.json and no merges.txt. Run `uv run fusion-core weights fetch roberta-base`, or pass "
        "--tokenizer FOLDER" in result.output
    )
