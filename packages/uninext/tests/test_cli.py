"""The command, from a published file to masks; what all programs share is tested by the contract tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import GoldenCase, find_cases
from mask_interchange import MaskRun
from PIL import Image
from typer.testing import CliRunner
from uninext.cli import app

(CASE,) = (c for c in find_cases("uninext", local=Path(__file__).parent / "goldens") if c.name == "tiny_vit")
SMALL = ["--backbone", "tiny-vit", "--short-side", "64", "--tokenizer", "bytes", "--device", "cpu"]


@pytest.fixture
def published(tmp_path: Path, tensors_of: Callable[[GoldenCase], dict[str, torch.Tensor]]) -> Path:
    path = tmp_path / "model_final.pth"
    torch.save({"model": tensors_of(CASE), "iteration": 1}, path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for t in range(2):
        Image.fromarray(rng.integers(0, 255, (72, 108, 3), dtype=np.uint8)).save(folder / f"{t}.png")
    return folder


def infer(clip: Path, out: Path, *options: object) -> MaskRun:
    arguments = ["--video", clip, "-e", "a dog", "-e", "the left one", "--out", out, *SMALL, *options]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return MaskRun.open(out)


def test_published_and_converted_files_give_the_same_masks(published: Path, clip: Path, tmp_path: Path) -> None:
    converted = tmp_path / "converted.safetensors"
    convert = ["checkpoint", "convert", str(published), str(converted), "--backbone", "tiny-vit"]
    result = CliRunner().invoke(app, convert)
    assert result.exit_code == 0, result.output
    runs = [
        infer(clip, tmp_path / name, "--checkpoint", path)
        for name, path in [("published", published), ("converted", converted)]
    ]
    one, other = (run.read("clip") for run in runs)
    assert one.tracks[0].masks == other.tracks[0].masks
    assert one.size == (72, 108)
    np.testing.assert_array_equal(one.tracks[1].scores, other.tracks[1].scores)
    assert one.tracks[0].masks != one.tracks[1].masks
    assert runs[0].manifest.checkpoint_sha256 != runs[1].manifest.checkpoint_sha256


def test_a_file_of_the_other_backbone_ends_with_names_and_exit_code_two(
    published: Path, clip: Path, tmp_path: Path
) -> None:
    arguments = ["--video", clip, "-e", "a dog", "--out", tmp_path / "run", *SMALL, "--checkpoint", published]
    arguments[arguments.index("tiny-vit")] = "tiny-convnext"
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 2
    assert "detr.detr.backbone.0.backbone.pos_embed" in result.output


def test_backbone_and_config_are_one_option() -> None:
    result = CliRunner().invoke(app, ["--config", "vit-g", "--out", "x", "--weights", "random:0"])
    assert result.exit_code == 2
    assert "convnext-l, vit-h" in result.output
