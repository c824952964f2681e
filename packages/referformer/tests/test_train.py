"""Training: what is shared with MUTR, the published recipes, and pre-training on images."""

import json

import numpy as np
import pytest
from golden_cases.grounded.training_contract import FRESH, TINY, TrainingContract, invoke
from PIL import Image
from referformer import ReferFormerPredictor, cli
from referformer.train import trainer
from referformer.train.configs import TRAIN_CONFIGS


class TestTraining(TrainingContract):
    kind = ReferFormerPredictor
    factory = trainer.FACTORY
    train = trainer.app
    infer = cli.main
    videos = "finetune"


@pytest.mark.parametrize(
    ("name", "videos", "frames", "batch", "epochs", "milestones", "rates"),
    [
        ("joint", True, 5, 1, 12, (8, 10), (1e-4, 5e-5, None)),
        ("pretrain", False, 1, 2, 12, (8, 10), (1e-4, 5e-5, 1e-5)),
        ("finetune", True, 5, 1, 6, (3, 5), (1e-4, 5e-5, None)),
        ("challenge", True, 5, 1, 6, (3, 5), (5e-6, 1e-6, 1e-6)),
    ],
)
def test_recipes_are_the_published_ones(name, videos, frames, batch, epochs, milestones, rates):
    config, how = TRAIN_CONFIGS[name], TRAIN_CONFIGS[name].optimisation
    assert (config.videos, config.frames, config.batch_size, config.epochs) == (videos, frames, batch, epochs)
    assert config.images == (("refcoco", "refcoco+", "refcocog") if name in ("joint", "pretrain") else ())
    assert (how.lr, how.backbone_lr, how.text_encoder_lr) == rates
    assert (how.lr_milestones, how.weight_decay, how.max_grad_norm) == (milestones, 5e-4, 0.1)


def test_pretraining_needs_images_only(tmp_path):
    folder = tmp_path / "coco" / "train2014"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "7.jpg")
    image = {"id": 7, "file_name": "7.jpg", "height": 60, "width": 80, "caption": "the dog on the left"}
    outline = {"id": 1, "image_id": 7, "segmentation": [[20, 16, 50, 16, 50, 40, 20, 40]]}
    for name in TRAIN_CONFIGS["pretrain"].images:
        file = tmp_path / "coco" / f"instances_{name}_train.json"
        file.write_text(json.dumps({"images": [image], "annotations": [outline]}))
    out = tmp_path / "out"
    result = invoke(trainer.app, *TINY, *FRESH, "--recipe", "pretrain", "--data", tmp_path, "--out", out, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert (out / "last.safetensors").is_file()
