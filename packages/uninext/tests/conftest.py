"""Golden cases as configurations, weights and networks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import GoldenCase
from program_kit.torch.checkpoint.model_checkpoints import Unallocated
from program_kit.torch.checkpoint.reading import Checkpoint
from uninext.checkpoint import CHECKPOINTS
from uninext.config import ConvNeXtConfig, ImageConfig, TextConfig, UninextConfig, ViTConfig
from uninext.model import Uninext, build_uninext

UNREAD = re.compile(r"detr\.detr\.ref_backbone\.")  # half of all weights; loading needs only their names and shapes

# Settings of the published code for which this package has one value only: that of the published checkpoints.
IN_FORCE = {
    "num_feature_levels": 4,
    "vl_layers": 1,
    "two_stage": True,
    "look_forward_twice": True,
    "use_dino": True,
    "decouple_tgt": True,
    "still_tgt_for_both": True,
    "still_cls_for_encoder": True,
    "use_iou_branch": True,
    "mask_stride": 4,
    "rel_coord": True,
    "new_mask_head": False,
    "use_raft": False,
    "mask_thres": 0.5,
    "clamp_min": True,
    "clamp_max": True,
    "stable_softmax_2d": False,
    "clamp_dot_product": True,
    "input_format": "RGB",
    "size_divisibility": 32,
}


def golden_config(manifest: dict[str, Any]) -> UninextConfig:
    """The configuration that a manifest of kind `inference` describes."""
    given = manifest["config"]
    other = {name: given[name] for name, value in IN_FORCE.items() if given[name] != value}
    assert not other, f"settings that no published checkpoint uses: {other}"
    assert given["two_stage_num_proposals"] == given["num_queries"]
    bert = given["bert"]
    return UninextConfig(
        name="golden",
        backbone=_backbone(given),
        text=TextConfig(
            **{name: bert[name] for name in bert if name in TextConfig.__dataclass_fields__},
            max_tokens=given["max_query_len"],
        ),
        image=ImageConfig(
            short_side=given["min_size_test"],
            long_side_limit=given["max_size_test"],
            mean=tuple(given["pixel_mean"]),
            std=tuple(given["pixel_std"]),
        ),
        hidden_size=given["hidden_dim"],
        num_heads=given["nheads"],
        feedforward_dim=given["dim_feedforward"],
        encoder_layers=given["enc_layers"],
        decoder_layers=given["dec_layers"],
        encoder_points=given["enc_n_points"],
        decoder_points=given["dec_n_points"],
        num_queries=given["num_queries"],
        fusion_hidden_size=given["vl_hidden_dim"],
        fusion_num_heads=given["vl_heads"],
        mask_channels=given["dynamic_mask_channels"],
        mask_layers=given["controller_layers"],
    )


def _backbone(given: dict[str, Any]) -> ConvNeXtConfig | ViTConfig:
    if given["backbone"] == "convnext":
        convnext = given["convnext"]
        return ConvNeXtConfig(
            depths=tuple(convnext["depths"]),
            dims=tuple(convnext["dims"]),
            layer_scale=convnext["layer_scale"],
            norm_eps=convnext["norm_eps"],
        )
    vit = dict(given["vit"])
    assert vit.pop("pretrain_use_cls_token")
    return ViTConfig(**vit | {"window_block_indexes": tuple(vit["window_block_indexes"])})


def published_tensors(case: GoldenCase) -> dict[str, torch.Tensor]:
    """The published state dict of a case; unused weights are zeros that take no memory."""
    entries = case.manifest["state_dict"]
    case.manifest["state_dict"] = [entry for entry in entries if not UNREAD.match(entry[0])]
    tensors = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    case.manifest["state_dict"] = entries
    for name, shape, dtype, _ in entries:
        if name not in tensors:
            tensors[name] = torch.zeros((), dtype=getattr(torch, dtype)).expand(shape)
    return tensors


def golden_network(case: GoldenCase) -> Uninext:
    config = golden_config(case.manifest)
    with Unallocated():
        network = build_uninext(config)
    checkpoint = Checkpoint(Path(str(case)), published_tensors(case))
    CHECKPOINTS.with_config("golden", config).fill(network, checkpoint, "golden")
    return network.eval().requires_grad_(False)


@pytest.fixture
def network_of() -> Callable[[GoldenCase], Uninext]:
    """Builds the network of a golden case, through the published names."""
    return golden_network


@pytest.fixture
def tensors_of() -> Callable[[GoldenCase], dict[str, torch.Tensor]]:
    """Makes the published state dict of a golden case."""
    return published_tensors


@pytest.fixture(name="config_of")
def config_of_fixture() -> Callable[[dict[str, Any]], UninextConfig]:
    """Turns a golden manifest into a configuration."""
    return golden_config
