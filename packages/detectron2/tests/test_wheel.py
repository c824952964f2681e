"""The wheel as installed: what it holds, and that the parts people use import and run."""

from importlib.metadata import files, metadata

import torch


def test_contents() -> None:
    names = [str(f) for f in files("detectron2") or []]
    assert any(n.endswith("dist-info/extra_metadata/LICENSE") for n in names)
    assert any(n.endswith("model_zoo/configs/Base-RCNN-FPN.yaml") for n in names)
    assert not [n for n in names if n.endswith((".so", ".pth")) or n.startswith("tools/")]
    assert metadata("detectron2")["Version"] == "0.7.2"


def test_config_registries_and_structures() -> None:
    from detectron2.config import get_cfg
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
    from detectron2.structures import Boxes, ImageList, Instances

    assert get_cfg().MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY
    assert "build_resnet_fpn_backbone" in BACKBONE_REGISTRY
    batch = ImageList.from_tensors([torch.ones(3, 20, 40)], size_divisibility=32)
    assert batch.tensor.shape == (1, 3, 32, 64)
    assert batch.tensor.sum() == 3 * 20 * 40
    found = Instances((20, 40), pred_boxes=Boxes(torch.tensor([[1.0, 2.0, 3.0, 4.0]])))
    assert found.pred_boxes.area().tolist() == [4.0]


def test_vision_transformer_runs() -> None:
    from detectron2.modeling.backbone.vit import ViT

    vit = ViT(img_size=64, embed_dim=16, depth=1, num_heads=2, window_size=2, use_rel_pos=True)
    features = vit(torch.zeros(1, 3, 32, 48))
    assert features["last_feat"].shape == (1, 16, 2, 3)


def test_predictor_and_checkpointer_import() -> None:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.data.transforms import ResizeShortestEdge
    from detectron2.engine import DefaultPredictor

    assert callable(DefaultPredictor)
    assert callable(DetectionCheckpointer)
    assert ResizeShortestEdge([480, 480], 1333).get_output_shape(720, 1280, 480, 1333) == (480, 853)
