"""What the tool adds to the trainer: random clips, the tokenizer, stages as data, half precision, card and table."""

import json
import re
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from demo_weights import cli, shipping, training
from demo_weights.clips import RandomClips
from demo_weights.errors import DemoWeightsError
from demo_weights.shipping import LARGEST, StageFacts, best_stages, card, write_half
from demo_weights.stages import EASY, STAGES, is_propagator
from demo_weights.training import best_weights, package, split_of
from demo_weights.variants import VARIANTS
from demo_weights.vocabulary import write_tokenizer
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.writing import write_checkpoint
from rvos_evaluation.evaluation import Means
from rvos_layers.encoders.config import DEMO
from rvos_layers.encoders.tokenizer import BUNDLED_TOKENIZERS, pretrained_encoder
from rvos_synthetic import plan_video, vocabulary, write_dataset
from rvos_training.data.data_check import check_training_videos
from rvos_training.data.read_once import ReadOnce
from typer.testing import CliRunner


def installed(model):
    """A model whose package may exclude another one's (`tested-with` in pyproject.toml)."""
    reason = f"{package(model)} is not installed beside this tool"
    return pytest.param(model, marks=pytest.mark.skipif(find_spec(package(model)) is None, reason=reason))


MODELS = [installed(model) for model in STAGES if not is_propagator(model) and model not in VARIANTS]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, "train", 3, size=(48, 80), frames=6)
    found = split_of(root, "train")
    return found, check_training_videos(found, ReadOnce(root / "presence.json"))


def test_clips_show_their_object_and_depend_on_chance_alone(videos):
    clips = RandomClips(*videos, length=4, samples=40)
    sampled = [clips.clip(index, np.random.default_rng(index)) for index in range(len(clips))]
    assert all(clip.visible.any() and clip.frames.shape == (4, 48, 80, 3) for clip in sampled)
    assert len({clip.name for clip in sampled}) > 10
    again = clips.clip(0, np.random.default_rng(3))
    assert again.name == sampled[3].name
    assert np.array_equal(again.masks, sampled[3].masks)


def test_clips_longer_than_the_video_repeat_its_last_frame(videos):
    clip = RandomClips(*videos, length=9, samples=1).clip(0, np.random.default_rng(0))
    assert np.array_equal(clip.frames[-1], clip.frames[-2])
    assert not np.array_equal(clip.frames[0], clip.frames[-1])


def test_only_expressions_that_match(videos):
    clips = RandomClips(*videos, length=1, samples=50, pattern="shape|object")
    texts = {clips.clip(0, np.random.default_rng(seed)).text for seed in range(50)}
    assert texts
    assert all(re.search("shape|object", text) for text in texts)


def test_easy_expressions_name_a_colour_or_a_place():
    expressions = [e for index in range(60) for e in plan_video("train", index)[1]]
    easy = [e for e in expressions if re.search(EASY, e.text)]
    assert len(easy) > len(expressions) / 3
    assert all(e.claims.keys() & {"colour", "side", "level"} for e in easy)


def test_the_shipped_tokenizer_is_the_one_that_is_written(tmp_path):
    write_tokenizer(tmp_path, vocabulary())
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (BUNDLED_TOKENIZERS[DEMO] / name).read_bytes()


@pytest.mark.parametrize("model", MODELS)
def test_configurations_fit_the_tokenizer(model):
    size = len(json.loads((BUNDLED_TOKENIZERS[DEMO] / "vocab.json").read_text()))
    config = import_module(f"{model}.config").CONFIGS["demo"]
    assert (config.text.vocab_size, config.text.tokenizer) == (size, DEMO)


def test_every_word_is_one_token_and_every_expression_is_accepted():
    encode = pretrained_encoder(DEMO)
    for word in vocabulary():
        assert len(encode(word)) == 3
        assert len(encode(f"the {word}")) == 4
    assert 3 not in encode("Ein Hund läuft, 犬が走る!"), "<unk>"


@pytest.mark.parametrize("model", MODELS)
def test_what_is_shipped_is_small_enough(model):
    program = import_module(f"{model}.train.trainer").FACTORY.model
    network = program.build_with_weights("demo", None)
    assert 2 * sum(entry.numel() for entry in network.state_dict().values()) < LARGEST
    assert program.bundled == import_module(f"{model}.bundled").BUNDLED


def test_half_precision(tmp_path):
    state = {"a": torch.randn(5, 7), "steps": torch.tensor([3])}
    write_checkpoint(tmp_path / "best.safetensors", state, Origin(model="soc", config="demo"))
    write_half(tmp_path / "best.safetensors", tmp_path / "demo.safetensors")
    written = read_checkpoint(tmp_path / "demo.safetensors")
    assert written.state["a"].dtype == torch.float16
    torch.testing.assert_close(written.state["a"].float(), state["a"], rtol=1e-3, atol=1e-6)
    assert torch.equal(written.state["steps"], state["steps"])
    assert (written.origin.model, written.origin.config) == ("soc", "demo")
    assert written.origin.source_sha256 == read_checkpoint(tmp_path / "best.safetensors").sha256


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(LARGEST // 2 + 1), "more than"),
        (torch.tensor([1e6]), "cannot hold"),
        (torch.tensor([float("nan")]), "cannot hold"),
    ],
)
def test_what_cannot_be_shipped(tmp_path, tensor, words):
    write_checkpoint(tmp_path / "best.safetensors", {"a": tensor}, Origin(model="soc", config="demo"))
    with pytest.raises(DemoWeightsError, match=words):
        write_half(tmp_path / "best.safetensors", tmp_path / "demo.safetensors")
    assert not (tmp_path / "demo.safetensors").exists()


def test_weights_of_others_are_not_shipped(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "best.pth")
    with pytest.raises(DemoWeightsError, match="expected a weights file of one of the programs"):
        write_half(tmp_path / "best.pth", tmp_path / "demo.safetensors")


def test_the_last_stage_that_was_scored_counts(tmp_path):
    stages = STAGES["soc"]
    assert best_weights(tmp_path, stages) is None
    for stage in stages[:2]:
        (tmp_path / stage.name).mkdir()
        (tmp_path / stage.name / "best.safetensors").touch()
        assert best_weights(tmp_path, stages) == tmp_path / stage.name / "best.safetensors"


def test_what_was_trained_is_shipped(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(training, "write_data", lambda root: None)
    monkeypatch.setattr(training, "train", lambda model, *_, **__: done.append(("train", model)))
    monkeypatch.setattr(shipping, "ship", lambda model, *_: done.append(("ship", model)) or Means(j=0.4, f=0.6))
    monkeypatch.setattr(cli, "find_spec", lambda name: name)
    result = CliRunner().invoke(cli.app, ["train", "soc", "mutr", "--work", str(tmp_path)])
    assert (result.exit_code, done) == (0, [("train", "soc"), ("ship", "soc"), ("train", "mutr"), ("ship", "mutr")])
    assert "soc: J&F 50.0 on the test videos" in result.output


def test_the_stage_that_scored_best_is_shipped(tmp_path):
    assert best_stages("soc", tmp_path) == []
    scores = {
        "encoders": {"epoch_loss": 2.0},
        "choice": {"J&F": 0.3},
        "clips": {"J&F": 0.5},
        "sharp": {"J&F": 0.4},
    }
    for name, score in scores.items():
        folder = tmp_path / "soc" / name
        folder.mkdir(parents=True)
        (folder / "best.safetensors").touch()
        entries = [{"event": "train", "step": 1, "seconds": 2}, {"event": "validation", "step": 1, **score}]
        (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    course = best_stages("soc", tmp_path)
    assert [(facts.stage.name, facts.best) for facts in course] == [("encoders", 0.0), ("choice", 0.3), ("clips", 0.5)]
    (tmp_path / "soc" / "choice").rename(tmp_path / "elsewhere")
    (tmp_path / "soc" / "clips").rename(tmp_path / "elsewhere too")
    (tmp_path / "soc" / "sharp").rename(tmp_path / "elsewhere as well")
    assert best_stages("soc", tmp_path) == [], "encoders alone cannot be shipped"


@pytest.mark.parametrize("model", [installed("soc")])
def test_the_card_tells_what_was_measured(tmp_path, model):
    entries = [{"event": "train", "step": step, "seconds": 6.0} for step in (1, 2, 3, 4, 5)]
    entries += [{"event": "validation", "step": step, "J&F": score} for step, score in ((3, 0.41), (5, 0.4))]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    stage = replace(STAGES["soc"][1], batch_size=8)
    facts = StageFacts.read(stage, tmp_path)
    assert (facts.steps, facts.seconds, facts.best) == (3, 18, 0.41), "up to the best weights"
    first = StageFacts(stage=STAGES["soc"][0], steps=7, seconds=60, best=0.0)
    text = card(model, [first, facts], Means(j=0.5, f=0.6), 3_700_000)
    assert "Training started from the weights that soc shipped before" in text
    assert "| encoders | 192 | 1 | 8 | 7 | 56 of 48000 | 0.001 | 1 min | not scored |" in text
    assert f"| choice | 128 | 1 | 8 | 3 | 24 of {stage.samples} | {stage.lr:g} | 0 min | 41.0 |" in text
    assert "the choice among a frame's objects (choice)" in text
    assert "| 55.0 | 50.0 | 60.0 |" in text
