"""Golden cases of the published code as our configurations, weights and inputs."""

from dataclasses import dataclass

import torch
from golden_cases import GoldenCase
from program_kit.torch.checkpoint.table import convert
from rvos_layers.blocks.config import DeformableConfig, FrameQueryConfig
from rvos_layers.encoders.config import PAD, TextConfig, VideoSwinConfig
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.grounded.queries import NUM_HEADS
from soc.checkpoint import published_table
from soc.config import SOCConfig
from soc.model import SOC
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def config_of(published: dict) -> SOCConfig:
    """Our configuration of a manifest's `config`. Options that our network does not have must hold their only value."""
    transformer, cluster = published["DeformTransformer"], published["VITA"]
    backbone, text = published["backbone"], published["text_encoder"]
    assert published["with_box_refine"]
    assert published["rel_coord"]
    assert not transformer["two_stage"]
    assert transformer["num_feature_levels"] == 4
    assert cluster["window_size"] == 0
    assert cluster["num_frame_queries"] == cluster["num_queries"] == transformer["num_queries"]
    assert published.get("fusion_heads", NUM_HEADS) == NUM_HEADS
    return SOCConfig(
        backbone=VideoSwinConfig(
            patch=tuple(backbone["patch_size"]),
            hidden_size=backbone["embed_dim"],
            depths=tuple(backbone["depths"]),
            num_heads=tuple(backbone["num_heads"]),
            window=tuple(backbone["window_size"]),
            mlp_ratio=backbone["mlp_ratio"],
            stochastic_depth=backbone["drop_path_rate"],
        ),
        text=TextConfig(
            vocab_size=text["vocab_size"],
            hidden_size=text["hidden_size"],
            layers=text["num_hidden_layers"],
            num_heads=text["num_attention_heads"],
            feedforward_dim=text["intermediate_size"],
            positions=text["max_position_embeddings"],
        ),
        transformer=DeformableConfig(
            hidden_size=transformer["d_model"],
            num_heads=transformer["nheads"],
            encoder_layers=transformer["enc_layers"],
            decoder_layers=transformer["dec_layers"],
            feedforward_dim=transformer["dim_feedforward"],
            encoder_points=transformer["enc_n_points"],
            decoder_points=transformer["dec_n_points"],
            dropout=transformer["dropout"],
        ),
        cluster=FrameQueryConfig(
            hidden_size=cluster["input_dim"],
            num_heads=cluster["nheads"],
            feedforward_dim=cluster["dim_feedforward"],
            encoder_layers=cluster["enc_layers"],
            decoder_layers=cluster["dec_layers"],
        ),
        queries=transformer["num_queries"],
        classes=published["num_classes"],
        mask_channels=published["mask_kernels_dim"],
        dynamic_channels=published["dynamic_mask_channels"],
        dynamic_layers=published["controller_layers"],
    )


def model_of(case: GoldenCase) -> SOC:
    """The network with the case's published weights, brought in through our own table."""
    config = config_of(case.manifest["config"])
    model = SOC(config).eval()
    model.load_state_dict(convert(published_state(case), published_table(config), model, str(case)), strict=True)
    return model


def published_state(case: GoldenCase) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.weights().items()}


@dataclass(frozen=True)
class Inputs:
    """Input of one published run, or of all runs of a case at once.

    Attributes:
        frames: [B, T, 3, H, W].
        padding_mask: bool[B, T, H, W] or None.
        tokens: E = B sentences, or E sentences about a single clip.
        stages: prefix under which the published code's intermediate results stand, e.g. `mid.exp0.`.
        outputs: prefix of its outputs.
    """

    frames: Tensor
    padding_mask: Tensor | None
    tokens: Tokens
    stages: str
    outputs: str


def runs_of(case: GoldenCase) -> list[Inputs]:
    """One published run for each expression; a case that holds a batch is one run."""
    frames = torch.from_numpy(case.arrays["in.frames"])
    if frames.ndim == 5:
        padding = torch.from_numpy(case.arrays["in.frame_mask"]).transpose(0, 1)
        return [Inputs(frames.transpose(0, 1), padding, _tokens(case, "in."), "mid.", "out.")]
    names = [name.split(".")[1] for name in case.names("in.") if name.endswith(".input_ids")]
    return [Inputs(frames[None], None, _tokens(case, f"in.{e}."), f"mid.{e}.", f"out.{e}.") for e in names]


def _tokens(case: GoldenCase, prefix: str) -> Tokens:
    ids, mask = (torch.from_numpy(case.arrays[prefix + name]) for name in ("input_ids", "attention_mask"))
    return Tokens(ids, mask != 1)


def pack(sentences: list[Tokens]) -> Tokens:
    """Single expressions as one batch."""
    ids = [tokens.input_ids[0] for tokens in sentences]
    padding = [tokens.padding_mask[0] for tokens in sentences]
    return Tokens(pad_sequence(ids, True, PAD), pad_sequence(padding, True, True))
