"""Clips, rolling a network out over them, and the whole training of a miniature."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import named_config
from aot_deaot.network import resize_logits
from aot_deaot.preprocess import network_image
from aot_deaot.propagate import Propagator
from aot_deaot.settings import MemoryPolicy, corrected
from aot_deaot.train.clips import PropagationBatch, PropagationData
from aot_deaot.train.configs import PolynomialOptimisation, PropagationTrainConfig
from aot_deaot.train.first_masks import first_masks
from aot_deaot.train.initial_weights import init_weights
from aot_deaot.train.objective import PropagationCriterion
from aot_deaot.train.rollout import roll_out
from aot_deaot.train.trainer import PropagationModelWithLoss, PropagationTrainingRequest, initial_network, train
from golden_cases import NETWORK, assert_close
from mask_interchange import open_dataset
from PIL import Image
from program_kit.propagator import Job
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.errors import TrainingError

from .drawn_videos import FRAMES, SIZE, draw_split, labels_of
from .published import random_network

FAMILIES = ["aot", "deaot"]
CONFIG = PropagationTrainConfig(
    epochs=2,
    samples=4,
    batch_size=2,
    frames=3,
    scales=(1.0, 1.5),
    top_k_fraction=0.5,
    reference_weight=0.1,
    optimisation=PolynomialOptimisation(lr=1e-2, encoder_lr_scale=1, total_epochs=2),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = draw_split(tmp_path_factory.mktemp("data"), "train")
    return draw_split(root, "valid")


@pytest.fixture(scope="module")
def videos(root):
    return AnnotatedVideos(open_dataset(root, "train"), root / "train" / "Annotations")


def data_of(videos, family="aot", config=CONFIG):
    return PropagationData(videos, config, named_config(family, "tiny"))


def batch_of(videos, family="aot", config=CONFIG, epoch=0) -> PropagationBatch:
    data = data_of(videos, family, config)
    batch = data[data.batches(epoch, config.batch_size)[0]]
    assert isinstance(batch, PropagationBatch)
    return batch


def test_clips_depend_on_the_seed_alone_and_caching_changes_nothing(videos):
    for epoch in range(4):
        first, again = batch_of(videos, epoch=epoch), batch_of(videos, epoch=epoch)
        data = data_of(videos)
        data.store = FrameStore(videos, budget=0)
        uncached = data[data.batches(epoch, CONFIG.batch_size)[0]]
        for other in (again, uncached):
            assert torch.equal(first.frames, other.frames)
            assert torch.equal(first.labels, other.labels)
            assert first.names == other.names


def test_objects_of_the_first_frame_get_any_slots_and_the_others_are_background(videos):
    slots, together = set(), set()
    for epoch in range(40):
        batch = batch_of(videos, epoch=epoch)
        assert batch.frames.shape[-2:] in {(32, 48), (48, 64), (48, 80)}
        for labels in batch.labels:
            first = set(labels[0].unique().tolist())
            assert set(labels.unique().tolist()) <= first, "nothing is followed that the first frame does not show"
            slots |= first
            together.add(len(first) - 1)
    assert slots == set(range(11))
    assert together == {1, 2}


def test_a_data_set_without_masks_is_an_error(videos, tmp_path):
    for name, video in videos.dataset.videos.items():
        (tmp_path / name).mkdir()
        for frame in video.frame_names:
            Image.new("L", SIZE[::-1]).save(tmp_path / name / f"{frame}.png")
    data = data_of(AnnotatedVideos(videos.dataset, tmp_path))
    found = data[data.batches(0, 1)[0]]
    assert isinstance(found, TrainingError)
    assert "without any object" in str(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_rolling_out_a_clip_is_propagating_it(family, videos):
    """The same network gives the same logits frame by frame, through the memory that inference uses."""
    network = random_network(3, named_config(family, "tiny"))
    labels = labels_of("a")
    images = np.stack(list(videos.dataset.videos["a"].frames()))
    seen: list[torch.Tensor] = []

    class Recorded(Propagator):
        def _probabilities(self, logits, tasks, seen_views, view):
            seen.append(resize_logits(logits, SIZE, network.config.align_corners)[0])
            return super()._probabilities(logits, tasks, seen_views, view)

    class Clip:
        size = SIZE

        def __len__(self):
            return FRAMES

        def read_frame(self, i):
            return images[i]

        def frames(self, start=0):
            return iter(images[start:])

    settings = replace(corrected(network.config), scales=(1.0,), flip=False, active_ids="all")
    assert settings.memory == MemoryPolicy(long_term_gap=2), "so that a frame enters the long-term memory"
    list(Recorded(network, settings).propagate(Clip(), [Job(0, labels[0])]))

    numbers = torch.from_numpy(np.searchsorted([0, 1, 5], labels))
    frames = torch.cat([network_image(image, SIZE) for image in images])[None]
    with torch.no_grad():
        logits = roll_out(network, frames, numbers[:1])
    assert logits.shape == (1, FRAMES, 11, *SIZE)
    for t in range(1, FRAMES):
        assert_close(logits[0, t], seen[t - 1], NETWORK)


@pytest.mark.parametrize("family", FAMILIES)
def test_clips_of_a_batch_do_not_disturb_each_other(family, videos):
    network = random_network(3, named_config(family, "tiny"))
    batch = batch_of(videos, family)
    with torch.no_grad():
        together = roll_out(network, batch.frames, batch.labels[:, 0])
        for index in range(2):
            part = slice(index, index + 1)
            alone = roll_out(network, batch.frames[part], batch.labels[part, 0])
            assert_close(together[part], alone, NETWORK)


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_on_a_batch_lower_its_loss_and_reach_every_parameter(family, videos):
    network = random_network(0, named_config(family, "tiny")).requires_grad_(True).train()
    model = PropagationModelWithLoss(network, PropagationCriterion(top_k_fraction=0.5, reference_weight=0.1))
    optimizer = PolynomialOptimisation(lr=3e-3, encoder_lr_scale=1, total_epochs=2).optimizer(network)
    batch = batch_of(videos, family, replace(CONFIG, frames=4))
    losses = []
    for _ in range(6):
        loss = model(batch).total
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
            assert not silent
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]


def run(root, out, family="aot", **changes):
    AcceleratorState._reset_state(reset_partial_state=True)
    request = PropagationTrainingRequest(family=family, config="tiny", data=root, out=out, device="cpu", save_every=1)
    return train(request, replace(CONFIG, **changes))


def log_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_training_stopped_and_resumed_equals_one_that_was_not(root, tmp_path):
    run(root, tmp_path / "whole")
    run(root, tmp_path / "stopped", steps=3)
    run(root, tmp_path / "stopped")
    whole, stopped = log_of(tmp_path / "whole"), log_of(tmp_path / "stopped")
    trained = [line for line in whole if line["event"] == "train"]
    assert len(trained) == 4
    assert trained == [line for line in stopped if line["event"] == "train"]
    assert [line["step"] for line in whole if line["event"] == "validation"] == [2, 4]
    network = CHECKPOINTS["aot"].load(tmp_path / "whole" / "last.safetensors", "tiny")
    other = CHECKPOINTS["aot"].load(tmp_path / "stopped" / "last.safetensors", "tiny")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_another_family_does_not_resume_a_training(root, tmp_path):
    run(root, tmp_path, "aot", steps=1)
    with pytest.raises(TrainingError, match="family is 'aot' in the checkpoint and 'deaot' now"):
        run(root, tmp_path, "deaot")


def test_the_identity_bank_tells_ids_apart_whatever_their_shape():
    network = random_network(0, named_config("aot", "tiny"))
    torch.manual_seed(0)
    init_weights(network)
    labels = torch.zeros(4, 16, 16, dtype=torch.int64)
    labels[0], labels[1, :9], labels[2], labels[3, :9] = 1, 1, 2, 2
    with torch.no_grad():
        whole, part, other, other_part = network.embed_ids(labels)[:, 0] - network.embed_ids(0 * labels)[:, 0]
    assert torch.cosine_similarity(whole, part, dim=0) > 0.5
    assert torch.cosine_similarity(other, other_part, dim=0) > 0.5
    assert abs(torch.cosine_similarity(whole, other, dim=0)) < 0.9


def test_deaot_begins_with_the_identity_behind_its_layers():
    network = random_network(0, named_config("deaot", "tiny"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    init_weights(network)
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["identity_bank.weight", *(name for name in before if name.endswith("blend.weight"))]
    for name in changed[1:]:
        difference = network.state_dict()[name] - before[name]
        torch.testing.assert_close(difference[:, 0, 2, 2], torch.ones(len(difference)))
        assert difference.count_nonzero() == len(difference)


def test_one_family_starts_from_the_weights_it_shares_with_the_other(root, tmp_path):
    other = random_network(9, named_config("aot", "tiny"))
    CHECKPOINTS["aot"].save(tmp_path / "aot.safetensors", other, "tiny")
    request = PropagationTrainingRequest(
        family="deaot", config="tiny", data=root, out=tmp_path, init_from=tmp_path / "aot.safetensors"
    )
    own, theirs = initial_network(request, seed=0).state_dict(), other.state_dict()
    same = {name for name in own if name in theirs and torch.equal(own[name], theirs[name])}
    assert {"encoder.features.0.0.weight", "projector.weight", "identity_bank.weight", "decoder.logits.weight"} <= same
    assert not any(name.startswith("layers.0.long_output") for name in same)


def test_first_masks_are_those_of_the_first_frame_that_shows_the_object(videos):
    masks = first_masks(videos.annotations, videos.dataset.videos["b"])
    red, blue = masks.tracks
    assert (red.key_frame, blue.key_frame) == (0, 2)
    assert np.array_equal(blue.mask(2), labels_of("b")[2] == 5)
    assert not any(blue.mask(frame).any() for frame in (0, 1, 3, 4))


def test_learning_rates_rise_then_fall_to_the_minimum():
    rates = PolynomialOptimisation(lr=1.0, min_lr_scale=0.1, warmup_epochs=1, total_epochs=5)
    shares = [rates.lr_scale(epoch) for epoch in range(8)]
    assert shares[0] == pytest.approx(0.5)
    assert shares[1] == pytest.approx(1.0)
    assert shares[1:6] == sorted(shares[1:6], reverse=True)
    assert shares[5:] == pytest.approx([0.1] * 3)


def test_biases_and_norms_have_no_weight_decay_and_the_encoder_has_a_learning_rate_of_its_own():
    network = random_network(0, named_config("aot", "tiny"))
    groups = (
        PolynomialOptimisation(lr=1.0, encoder_lr_scale=0.1, total_epochs=5, weight_decay=0.07)
        .optimizer(network)
        .param_groups
    )
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(1, 0.07), (1, 0), (0.1, 0.07), (0.1, 0)}
    for group in groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"frames": 1}, "frames"), ({"samples": 0}, "samples"), ({"scales": ()}, "scales"), ({"epochs": 0}, "epochs")],
)
def test_training_configurations_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)
