"""The choice among a clip's objects: pooling, scores over frames, cross entropy, and that it teaches a network."""

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from demo_weights.choice import (
    GROUNDED,
    MEMORIES,
    ChoiceModelWithLoss,
    areas,
    choice_loss,
    over_frames,
    pool_objects,
)
from demo_weights.clips import RandomClips
from demo_weights.scene_facts import is_false, mirrored_claims, plan_of
from demo_weights.training import split_of
from rvos_layers.inference.config import ResizeRule
from rvos_synthetic import write_dataset
from rvos_synthetic.textures import COLOURS
from rvos_training.data.batches import collate
from rvos_training.data.data_check import check_training_videos
from rvos_training.data.read_once import ReadOnce
from rvos_training.data.transforms import FlipAndResize
from rvos_training.errors import TrainingError


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, "train", 16, size=(48, 80), frames=6)
    found = split_of(root, "train")
    return found, check_training_videos(found, ReadOnce(root / "presence.json"))


def test_features_are_the_mean_over_each_object():
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[0, :4, :4], labels[0, 4:, 6:] = 1, 3
    maps = torch.arange(2 * 5 * 16.0).view(2, 5, 4, 4)
    pooled = pool_objects(maps, labels)
    assert pooled.shape == (2, 3, 5)
    torch.testing.assert_close(pooled[0, 0], maps[0, :, :2, :2].mean((1, 2)))
    torch.testing.assert_close(pooled[0, 2], maps[0, :, 2:, 3].mean(1))
    assert not pooled[0, 1].any()
    assert not pooled[1].any()


def test_scores_are_means_over_the_frames_that_show_an_object():
    scores = torch.tensor([[[1.0, 2.0, 5.0], [3.0, 4.0, 5.0]]])
    shown = torch.tensor([[[7, 1, 0], [0, 9, 0]]])
    assert over_frames(scores, shown).tolist() == [[1.0, 3.0, -torch.inf]]


def test_clips_without_what_is_meant_teach_no_choice():
    scores = torch.tensor([[2.0, 0.0, -torch.inf], [0.0, 1.0, 0.0], [9.0, 0.0, 0.0]])
    loss, right = choice_loss(scores, torch.tensor([[5, 0], [3, 0], [0, 0]]))
    assert float(loss) == pytest.approx(-float(scores[:2].log_softmax(1)[:, 0].mean()))
    assert float(right) == 0.5
    nothing = choice_loss(scores, torch.zeros(3, 1))
    assert [float(value) for value in nothing] == [0, 0]


def test_clips_of_another_video_do_not_show_what_the_expression_means(videos):
    clips = RandomClips(*videos, length=2, samples=30, pattern="|".join(COLOURS), absent=1.0)
    for seed in range(30):
        clip = clips.clip(0, np.random.default_rng(seed))
        assert not clip.visible.any()
        assert clip.labels.any()
        shown = clip.name.split(",")[0].removeprefix("video ")
        claims = [e.claims for name in videos[0].dataset.videos for e in plan_of(name)[1] if e.text == clip.text]
        assert any(is_false(one, shown) for one in claims)
    alone = replace(videos[0], dataset=replace(videos[0].dataset, videos=dict([*videos[0].dataset.videos.items()][:1])))
    with pytest.raises(TrainingError, match="write more"):
        RandomClips(alone, videos[1], length=2, samples=1, absent=1.0).clip(0, np.random.default_rng(0))
    never = RandomClips(*videos, length=2, samples=30)
    assert all(never.clip(0, np.random.default_rng(seed)).visible.any() for seed in range(30))


def test_claims_are_not_false_of_their_own_video():
    scene, expressions = plan_of("train_000000")
    assert not any(is_false(one.claims, "train_000000") for one in expressions)
    missing = next(c for c in ("red", "green", "blue", "yellow") if c not in {o.look.colour for o in scene.objects})
    assert is_false({"colour": missing}, "train_000000")
    assert mirrored_claims({"side": "left", "motion": "up"}) == {"side": "right", "motion": "up"}


def trainable(package):
    reason = f"{package} is not installed beside this tool"
    return pytest.param(package, marks=pytest.mark.skipif(find_spec(package) is None, reason=reason))


@pytest.mark.parametrize("package", [trainable("soc"), trainable("uninext")])
def test_a_network_learns_to_choose(videos, package):
    torch.manual_seed(0)
    factory = import_module(f"{package}.train.trainer").FACTORY
    config = {"uninext": "demo-convnext"}.get(package, "demo")
    network = factory.model.build_with_weights(config, None, 0)
    memory = MEMORIES.get(package, GROUNDED)
    model = ChoiceModelWithLoss(factory.with_losses(network, False), memory, weight=2.0)
    tokenizer = factory.model.tokenizer("demo", factory.model.configs[config].text)
    clips, transform = RandomClips(*videos, length=1, samples=8), FlipAndResize(resize=ResizeRule(short=48))
    samples = [transform.apply(clips.clip(0, np.random.default_rng(seed)), flip=seed % 2 > 0) for seed in range(6)]
    batch = collate(samples, tokenizer, factory.multiple)
    meant = areas(batch.targets.labels * batch.targets.masks)
    assert torch.equal(meant.sum((1, 2)), batch.targets.masks.sum((1, 2, 3)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    measured = []
    for step in range(12):
        torch.manual_seed(step)  # of dropout
        losses = model(batch)
        if step == 0:
            torch.manual_seed(step)
            own = losses.total - 2.0 * losses.terms["choice"]
            torch.testing.assert_close(own, model.model(batch).total, rtol=1e-3, atol=1e-3)
        measured.append(float(losses.terms["choice"].detach()))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert min(measured[-3:]) < 0.7 * measured[0]
    assert 0 <= float(losses.terms["chosen"]) <= 1
