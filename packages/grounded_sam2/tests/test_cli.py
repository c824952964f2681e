"""The commands as a user calls them: wrong input ends with exit code 2 and says what to type, before any work."""

import json

import numpy as np
import pytest
import torch
from grounded_sam2 import cli
from grounded_sam2.checkpoint import GROUNDING_DINO_CHECKPOINTS, SAM2_CHECKPOINTS
from mask_interchange import MaskRun
from PIL import Image
from program_kit.torch import memory
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from .drawn_videos import SIZE, save_video
from .test_checkpoint import WORDS, save_tokenizer

TINY = ["--config", "tiny", "--device", "cpu"]
RANDOM = [*TINY, "--weights", "random:0"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "clip"
    save_video(folder, 3)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Miniatures of the published folders: `detector` and `segmenter`."""
    folder = tmp_path_factory.mktemp("weights")
    GROUNDING_DINO_CHECKPOINTS.load("tiny", None, seed=0).save_pretrained(folder / "detector")
    SAM2_CHECKPOINTS.load("tiny", None, seed=0).save_pretrained(folder / "segmenter")
    save_tokenizer(folder / "detector", WORDS)
    return folder


@pytest.fixture
def weights(published, tmp_path):
    """A copy that a test may change."""
    for file in published.rglob("*.*"):
        target = tmp_path / "weights" / file.relative_to(published)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return tmp_path / "weights"


def sam2(clip, out, *more):
    return CliRunner().invoke(cli.sam2, ["--video", str(clip), "--out", str(out), *map(str, more)])


def grounded(clip, out, *more):
    return CliRunner().invoke(
        cli.grounded, ["--video", str(clip), "-e", "a red square", "--out", str(out), *map(str, more)]
    )


def save_mask(path, labels):
    Image.fromarray(labels).save(path)
    return path


def save_prompts(path, prompts):
    path.write_text(json.dumps(prompts))
    return path


@pytest.fixture
def mask(tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[10:25, 2:20] = 1
    return save_mask(tmp_path / "mask.png", labels)


def assert_refused(result, out, *words):
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.stderr, word
    assert "Traceback" not in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (
            {"ball": {"box": [0, 0, 81, 20]}},
            "prompt 'ball': the box's corner (81, 20) is outside the frame of 80 x 45 pixels; give x",
        ),
        ({"ball": {"points": [[5, 46]]}}, "prompt 'ball': the point (5, 46) is outside"),
        ({"ball": {"frame": 3, "box": [0, 0, 8, 8]}}, "prompt 'ball': frame 3 is not in the video, which has 0 to 2"),
    ],
)
def test_prompts_outside_the_video(clip, tmp_path, prompts, words):
    result = sam2(clip, tmp_path / "out", "--prompts", save_prompts(tmp_path / "prompts.json", prompts), *RANDOM)
    assert_refused(result, tmp_path / "out", words)


def test_a_mask_of_another_size(clip, tmp_path):
    mask = save_mask(tmp_path / "mask.png", np.ones((40, 80), np.uint8))
    words = (
        "the mask of key frame 0 is 40 x 80, the video's frames are 45 x 80 (height x width); give a mask of their size"
    )
    assert_refused(sam2(clip, tmp_path / "out", "--mask", mask, *RANDOM), tmp_path / "out", words)


def test_more_objects_than_memory_allows(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint8)
    mask = save_mask(tmp_path / "mask.png", labels)
    prompts = save_prompts(tmp_path / "prompts.json", {"ball": {"box": [0, 0, 8, 8]}})
    for objects, source in ((255, ["--mask", mask]), (1, ["--prompts", prompts])):
        result = sam2(clip, tmp_path / "out", *source, *RANDOM)
        assert_refused(
            result, tmp_path / "out", f"{objects} objects at the same time take about", "0 objects fit; give fewer"
        )
    result = grounded(clip, tmp_path / "run", *RANDOM)
    assert result.exit_code == 1
    assert "failed: clip: 1 objects at the same time take about" in result.stderr
    assert MaskRun.open(tmp_path / "run").videos() == []


def test_without_weights_the_message_says_what_to_fetch(clip, tmp_path, mask, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "none"))
    result = sam2(clip, tmp_path / "out", "--mask", mask)
    words = "weights fetch sam2.1-base-plus` fetches published ones (sam2.1-base-plus: 323 MB, Apache-2.0)"
    assert_refused(result, tmp_path / "out", words, "--weights random:0 --config tiny")
    words = "`uv run fusion-core weights fetch grounding-dino-base sam2.1-base-plus`"
    assert_refused(
        grounded(clip, tmp_path / "out"), tmp_path / "out", words, "933 MB", "--weights random:0 --config tiny"
    )


def change(folder, work):
    state = load_file(folder / "model.safetensors")
    work(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def faulty(state):
    name = next(name for name, tensor in state.items() if tensor.dim() == 1)
    state["stray.weight"] = torch.zeros(1)
    state[name] = torch.zeros(3, 3)
    del state[next(name for name, tensor in reversed(state.items()) if tensor.dim() == 2)]


def test_tensors_that_are_missing_added_or_misshapen(clip, tmp_path, mask, weights):
    for network in ("segmenter", "detector"):
        change(weights / network, faulty)
        groups = (
            "does not fit tiny",
            "missing (1)",
            "unknown (1)",
            "of another shape (1)",
            "fusion-core weights fetch",
        )
        result = grounded(clip, tmp_path / "out", "--checkpoint", weights, *TINY)
        assert_refused(result, tmp_path / "out", str(weights / network), *groups)
        if network == "segmenter":
            result = sam2(clip, tmp_path / "out", "--mask", mask, "--checkpoint", weights / network, *TINY)
            assert_refused(result, tmp_path / "out", str(weights / network), *groups)
            SAM2_CHECKPOINTS.load("tiny", None, seed=0).save_pretrained(weights / network)


def test_a_configuration_of_another_model(clip, tmp_path, mask, weights):
    result = sam2(clip, tmp_path / "out", "--mask", mask, "--checkpoint", weights / "detector", *TINY)
    assert_refused(
        result, tmp_path / "out", "is of a model 'grounding-dino', not 'sam2_video'", "fusion-core weights fetch"
    )
    result = sam2(clip, tmp_path / "out", "--mask", mask, "--checkpoint", weights / "segmenter", "--device", "cpu")
    assert_refused(result, tmp_path / "out", "it is that of tiny: give --config tiny")
    (weights / "detector").rename(tmp_path / "other")
    (weights / "segmenter").rename(weights / "detector")
    (tmp_path / "other").rename(weights / "segmenter")
    result = grounded(clip, tmp_path / "out", "--checkpoint", weights, *TINY)
    assert_refused(result, tmp_path / "out", "is of a model 'sam2_video', not 'grounding-dino'")
