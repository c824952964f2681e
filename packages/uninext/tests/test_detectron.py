"""UNINEXT for users of detectron2."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model
from golden_cases import NETWORK, rounding
from program_kit.errors import CheckpointError, DeviceError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.writing import write_checkpoint
from uninext.checkpoint import CHECKPOINTS
from uninext.config import CONFIGS
from uninext.detectron import (
    ReferringImagePredictor,
    UninextCheckpointer,
    add_uninext_config,
    build_network,
    config_of,
    uninext_cfg,
)
from uninext.errors import ConfigError
from uninext.preprocess import load_tokenizer


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_survives_detectron2s_nodes_and_yaml(name: str, tmp_path: Path) -> None:
    cfg = uninext_cfg(name)
    assert config_of(cfg) == CONFIGS[name]
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = get_cfg()
    add_uninext_config(again, CONFIGS[name])
    again.merge_from_file(str(tmp_path / "config.yaml"))
    assert config_of(again) == CONFIGS[name]


def test_configuration_faults() -> None:
    with pytest.raises(ConfigError, match="start from"):
        config_of(get_cfg())
    cfg = uninext_cfg("tiny-vit")
    cfg.MODEL.UNINEXT.SURPRISE = 1
    with pytest.raises(ConfigError, match="SURPRISE"):
        config_of(cfg)
    cfg = uninext_cfg("tiny-vit")
    cfg.MODEL.UNINEXT.NUM_HEADS = 7
    with pytest.raises(ConfigError, match="num_heads=7"):
        build_model(cfg)


def test_the_registries_know_the_models() -> None:
    cfg = uninext_cfg("tiny-vit")
    assert cfg.MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY
    assert cfg.MODEL.BACKBONE.NAME in BACKBONE_REGISTRY
    model = build_model(cfg)
    shapes = model.backbone.output_shape()
    assert [shape.stride for shape in shapes.values()] == [8, 16, 32]
    maps = model.backbone(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
        name: (shape.channels, 64 // shape.stride, 96 // shape.stride) for name, shape in shapes.items()
    }


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a random network, saved by detectron2's checkpointer and then by us."""
    network = build_network(uninext_cfg("tiny-convnext"), seed=0)
    UninextCheckpointer(network, str(tmp_path)).save("random")
    state = read_checkpoint(tmp_path / "random.pth").state
    write_checkpoint(tmp_path / "random.safetensors", state, Origin(model="uninext", config="tiny-convnext"))
    return tmp_path / "random.safetensors"


def test_predictor_gives_instances_in_the_images_own_pixels(weights: Path) -> None:
    cfg = uninext_cfg("tiny-convnext")
    cfg.MODEL.WEIGHTS = str(weights)
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.MIN_SIZE_TEST = 64
    predictor = ReferringImagePredictor(cfg, load_tokenizer("bytes", config_of(cfg).text))
    image = np.random.default_rng(0).integers(0, 255, (70, 100, 3), dtype=np.uint8)
    instances = predictor(image, ["a dog", "the tall one"])["instances"]
    assert len(instances) == 2
    assert instances.image_size == (70, 100)
    assert instances.pred_masks.shape == (2, 70, 100)
    assert torch.equal(instances.pred_masks, instances.mask_probabilities > 0.5)
    assert ((instances.scores > 0) & (instances.scores < 1)).all()
    assert (instances.pred_boxes.area() > 0).all()
    mirrored = predictor(np.ascontiguousarray(image[..., ::-1]), ["a dog"])["instances"]
    assert abs(float(mirrored.scores[0] - instances.scores[0])) > rounding(1, NETWORK)


def test_the_checkpointer_is_strict(tmp_path: Path) -> None:
    torch.save({"model": {"detr.unknown": torch.zeros(1)}}, tmp_path / "odd.pth")
    model = build_model(uninext_cfg("tiny-convnext"))
    with pytest.raises(CheckpointError, match=r"detr\.unknown"):
        UninextCheckpointer(model).load(str(tmp_path / "odd.pth"))
    with pytest.raises(CheckpointError):
        CHECKPOINTS.convert(tmp_path / "odd.pth", tmp_path / "odd.safetensors", "tiny-convnext")
    assert not (tmp_path / "odd.safetensors").exists()


def test_missing_weights_and_devices() -> None:
    cfg = uninext_cfg("tiny-convnext")
    with pytest.raises(CheckpointError, match=r"MODEL\.WEIGHTS is empty"):
        build_network(cfg)
    cfg.MODEL.DEVICE = "cuda:99"
    with pytest.raises(DeviceError, match="cuda:99"):
        build_network(cfg, seed=0)
