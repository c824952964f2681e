"""Encoders that learn from objects cut out of frames: what a batch holds, and that words and looks are learned."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from demo_weights.encoders import EncodersWithLoss
from demo_weights.scene_facts import plan_of
from demo_weights.scenes import CUT, LOOKS, UNKNOWN, Scenes
from demo_weights.stages import STAGES, EncoderStage, Stage
from demo_weights.training import init_from, shipped, split_of
from rvos_layers.encoders.config import DEMO_TEXT
from rvos_layers.encoders.tokenizer import Tokenizer, pretrained_encoder
from rvos_synthetic import write_dataset
from rvos_synthetic.grammar import WORDS
from rvos_training.data.batches import BatchIndices

TOKENIZER = Tokenizer(pretrained_encoder("demo"), vocab_size=DEMO_TEXT.vocab_size, max_tokens=DEMO_TEXT.max_tokens)
FIRST = BatchIndices(0, tuple(range(5)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, "train", 4, frames=4)
    return Scenes(split_of(root, "train"), TOKENIZER, samples=20, expressions=3, short_side=96, seed=1)


def test_a_batch_holds_objects_and_expressions_of_the_same_frames(scenes):
    batch = scenes[FIRST]
    objects, expressions = len(batch.scenes), len(batch.about)
    assert batch.cuts.shape == (objects, 1, 3, *CUT)
    assert batch.masks.shape == (objects, *CUT)
    assert batch.masks.flatten(1).any(1).all()
    assert ((batch.centres > 0) & (batch.centres < 1)).all()
    assert batch.claims.shape == (expressions, len(WORDS))
    assert (batch.scenes[batch.meant] == batch.about).all()
    assert torch.bincount(batch.about).max() <= 3
    assert len(batch.names) == 5
    again = scenes[FIRST].to("cpu")
    assert torch.equal(again.cuts, batch.cuts)
    assert not torch.equal(scenes[BatchIndices(1, FIRST.indices)].cuts[0], batch.cuts[0])


def test_looks_and_claims_are_those_of_the_generator(scenes):
    said = 0
    for seed in range(12):
        scene = scenes.scene(np.random.default_rng(seed))
        plan, _ = plan_of(scene.name.split(",")[0].removeprefix("video "))
        looks = [
            [
                UNKNOWN if name == "size" and o.look.resizing else list(WORDS[name]).index(getattr(o.look, name))
                for name in LOOKS
            ]
            for o in plan.objects
        ]
        assert all(one.looks in looks for one in scene.objects)
        for text, claims, meant in zip(scene.texts, scene.claims, scene.meant, strict=True):
            for (name, values), number in zip(WORDS.items(), claims, strict=True):
                if number and name in LOOKS:
                    value = list(values)[number - 1]
                    assert scene.objects[meant].looks[LOOKS.index(name)] == number - 1
                    assert any(wording in text for wording in WORDS[name][value])
                if number and name == "side":
                    said += 1
                    assert list(values)[number - 1] in text, "mirrored or not, text and claim agree"
                    assert (scene.objects[meant].centre[0] < 0.5) == (list(values)[number - 1] == "left")
    assert said


@pytest.mark.skipif(find_spec("soc") is None, reason="soc is not installed beside this tool")
def test_encoders_learn_words_looks_and_choices(scenes):
    torch.manual_seed(0)
    network = import_module("soc.train.trainer").FACTORY.model.build_with_weights("demo", None, 0)
    model = EncodersWithLoss(network)
    untouched = network.mask_features.state_dict(keep_vars=False)
    before = {name: value.clone() for name, value in untouched.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch, measured = scenes[FIRST], []
    for _ in range(15):
        losses = model(batch)
        measured.append({name: float(value.detach()) for name, value in losses.terms.items()})
        assert float(losses.total.detach()) == pytest.approx(
            sum(measured[-1][name] for name in ("choice", "looks", "claims", "words")), rel=1e-4
        )
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    for name in ("choice", "looks", "claims", "words"):
        assert measured[-1][name] < 0.9 * measured[0][name], name
    assert 0 <= measured[-1]["chosen"] <= 1
    assert all(torch.equal(before[name], value) for name, value in network.mask_features.state_dict().items())


@pytest.mark.skipif(find_spec("soc") is None, reason="soc is not installed beside this tool")
def test_a_first_stage_may_start_from_what_is_shipped(tmp_path):
    stage = EncoderStage(
        name="encoders", short_side=96, batch_size=2, samples=6, expressions=2, lr=1e-3, init_from="soc/shipped"
    )
    assert init_from(tmp_path / "soc", stage) == shipped("soc").path


def test_stages_start_from_models_that_are_known():
    for stages in STAGES.values():
        for stage in stages:
            assert stage.init_from is None or stage.init_from.partition("/")[0] in STAGES
            if isinstance(stage, Stage):
                assert 0 <= stage.absent < 1
