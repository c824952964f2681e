"""The model of a case, filled with the weights it was made with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from program_kit.torch.checkpoint.table import Rule, convert
from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.encoders.config import TextConfig, VideoSwinConfig
from rvos_layers.grounded.config import GroundedConfig
from rvos_layers.grounded.segmenter import GroundedSegmenter
from torch import Tensor

from golden_cases import GoldenCase

EXPECTED = {  # options that our networks have built in
    "with_box_refine": True,
    "two_stage": False,
    "position_embedding": "sine",
    "masks": True,
    "rel_coord": True,
    "num_feature_levels": 4,
}


@dataclass(frozen=True)
class LoadedCase:
    """A golden case and its model, in evaluation mode, with the model's rules for published names."""

    case: GoldenCase
    config: GroundedConfig
    model: GroundedSegmenter
    table: Sequence[Rule]


def load_case(
    case: GoldenCase,
    make_config: Callable[[Mapping[str, Any], Mapping[str, Any]], GroundedConfig],
    make_model: Callable[[Any], GroundedSegmenter],
    table: Callable[[Any], Sequence[Rule]],
) -> LoadedCase:
    """Build the model that a manifest describes and pass the published weights through the strict conversion.

    Args:
        case: with `config` and `state_dict` in its manifest.
        make_config: from the sizes common to both models, and the manifest's `fixed_in_code`.
        make_model: from that configuration.
        table: the model's rules for published names.
    """
    config = make_config(shared_sizes(case.manifest["config"]), case.manifest["config"]["fixed_in_code"])
    model = make_model(config).eval()
    model.load_state_dict(convert(torch_weights(case), table(config), model, str(case)), strict=True)
    return LoadedCase(case, config, model, table(config))


def torch_weights(case: GoldenCase) -> dict[str, Tensor]:
    """The published state dict of a case, index buffers left out."""
    return {name: torch.from_numpy(array) for name, array in case.weights().items()}


def shared_sizes(published: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `GroundedConfig` that a manifest's `config` stands for."""
    options, swin, roberta = published["options"], published["video_swin"], published["roberta"]
    for name, value in EXPECTED.items():
        assert options[name] == value, f"{name}={options[name]} is not supported, only {value}"
    return {
        "backbone": VideoSwinConfig(
            patch=tuple(swin["patch_size"]),
            hidden_size=swin["embed_dim"],
            depths=tuple(swin["depths"]),
            num_heads=tuple(swin["num_heads"]),
            window=tuple(swin["window_size"]),
            mlp_ratio=swin["mlp_ratio"],
        ),
        "text": TextConfig(
            vocab_size=roberta["vocab_size"],
            hidden_size=roberta["hidden_size"],
            layers=roberta["num_hidden_layers"],
            num_heads=roberta["num_attention_heads"],
            feedforward_dim=roberta["intermediate_size"],
            positions=roberta["max_position_embeddings"],
        ),
        "transformer": DeformableConfig(
            hidden_size=options["hidden_dim"],
            num_heads=options["nheads"],
            encoder_layers=options["enc_layers"],
            decoder_layers=options["dec_layers"],
            feedforward_dim=options["dim_feedforward"],
            levels=options["num_feature_levels"],
            encoder_points=options["enc_n_points"],
            decoder_points=options["dec_n_points"],
            dropout=options["dropout"],
        ),
        "queries": options["num_queries"],
        "classes": published["num_classes"],
        "mask_channels": options["mask_dim"],
        "dynamic_channels": options["dynamic_mask_channels"],
        "dynamic_layers": options["controller_layers"],
    }
