"""Networks of golden cases: configs and published state dicts read from their manifests."""

import torch
from aot_deaot.checkpoint import CHECKPOINTS, published_table
from aot_deaot.config import NetworkConfig, SwinShape
from aot_deaot.network import PropagationNetwork
from golden_cases import GoldenCase
from program_kit.torch.checkpoint.table import convert


def swin_shape(encoder: dict) -> SwinShape:
    return SwinShape(
        embed_dim=encoder["embed_dim"],
        depths=tuple(encoder["depths"]),
        num_heads=tuple(encoder["num_heads"]),
        window=encoder["window_size"],
    )


def network_config(config: dict) -> NetworkConfig:
    gap = config["long_term_mem_gap"]
    return NetworkConfig(
        family=config["MODEL_VOS"],
        encoder=swin_shape(config["encoder"]),
        hidden_size=config["MODEL_ENCODER_EMBEDDING_DIM"],
        layers=config["MODEL_LSTT_NUM"],
        num_heads=config["MODEL_SELF_HEADS"],
        num_memory_heads=config["MODEL_ATT_HEADS"],
        max_objects=config["MODEL_MAX_OBJ_NUM"],
        align_corners=config["MODEL_ALIGN_CORNERS"],
        radius=config["short_term_max_dis"],
        feedforward_dim=config.get("lstt_dim_feedforward", 1024),
        expansion=int(config.get("gpm_expand_ratio", 2)),
        long_term_gap=gap,
    )


def published_state(case: GoldenCase) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.weights().items()}


def load(case: GoldenCase, config: NetworkConfig) -> PropagationNetwork:
    network = PropagationNetwork(config)
    network.load_state_dict(convert(published_state(case), published_table(config), network, str(case)))
    return network.eval().requires_grad_(False)


def random_network(seed: int, config: NetworkConfig) -> PropagationNetwork:
    network = CHECKPOINTS[config.family].with_config("own", config).random("own", seed)
    return network.eval().requires_grad_(False)
