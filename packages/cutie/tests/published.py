"""Networks and settings of golden cases: configs and published state dicts read from their manifests."""

import json
from pathlib import Path

import torch
from cutie.checkpoint import published_table
from cutie.config import NetworkConfig, ResNetShape
from cutie.model import Cutie
from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings
from golden_cases import GoldenCase, published_weights
from program_kit.torch.checkpoint.table import convert


def network_config(case: GoldenCase) -> NetworkConfig:
    model, depths = case.manifest["config"]["model"], tuple(case.manifest["encoder_depths"])
    blocks = {"resnet18": "basic", "resnet50": "bottleneck"}
    transformer = model["object_transformer"]
    return NetworkConfig(
        image_encoder=ResNetShape(block=blocks[model["pixel_encoder"]["type"]], depths=depths),
        mask_encoder=ResNetShape(block=blocks[model["mask_encoder"]["type"]], depths=depths),
        dim=model["embed_dim"],
        key_dim=model["key_dim"],
        decoder_dim=model["mask_decoder"]["up_dims"][-1],
        queries=transformer["num_queries"],
        blocks=transformer["num_blocks"],
        num_heads=transformer["num_heads"],
        feedforward_dim=transformer["ff_dim"],
    )


def settings(case: GoldenCase) -> PropagationSettings:
    config = case.manifest["config"]
    long = config["long_term"]
    long_term = LongTerm(
        most_frames=long["max_mem_frames"],
        least_frames=long["min_mem_frames"],
        prototypes=long["num_prototypes"],
        most_tokens=long["max_num_tokens"],
        spare_tokens=long["buffer_tokens"],
    )
    return PropagationSettings(
        memory=MemoryPolicy(
            gap=config["mem_every"],
            frames=config["max_mem_frames"],
            top=config["top_k"],
            long_term=long_term if config["use_long_term"] else None,
        )
    )


def published_state(case: GoldenCase) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.weights().items()}


def load(case: GoldenCase) -> Cutie:
    network = Cutie(network_config(case))
    state = convert(published_state(case), published_table(network.config), network, str(case))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def published_shapes(config: str) -> dict[str, list[int]]:
    """Names and shapes of a public file."""
    return json.loads((Path(__file__).parent / "published_names" / f"cutie-{config}-mega.json").read_text())


def drawn_state(config: str) -> dict[str, torch.Tensor]:
    """A state dict as that of a public file, with drawn numbers."""
    shapes = published_shapes(config)
    drawn = published_weights([[name, shape, "float32", None] for name, shape in shapes.items() if shape], {}, {})
    counters = {name: torch.tensor(1) for name, shape in shapes.items() if not shape}
    return {name: torch.from_numpy(array) for name, array in drawn.items()} | counters
