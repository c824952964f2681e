"""Parity with the published code, stage by stage."""

from pathlib import Path

import pytest
import torch
from golden_cases import GoldenCase, StageReport, find_cases
from golden_cases.grounded.inference_cases import compare_half, compare_inference
from golden_cases.grounded.loading import LoadedCase, load_case
from golden_cases.grounded.processing_cases import compare_postprocessing, compare_preprocessing
from golden_cases.grounded.training_cases import compare_training
from msda_ops import ms_deform_attn
from referformer.checkpoint import published_table
from referformer.config import ReferFormerConfig
from referformer.model import ReferFormer
from referformer.preprocess import RESIZE
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from rvos_layers.blocks.heads import inverse_sigmoid
from rvos_layers.encoders.positions import sine_encoding_1d, sine_encoding_2d
from rvos_layers.encoders.text import TextFeatures

CASES = find_cases("referformer", local=Path(__file__).parent / "goldens")


def load(case: GoldenCase) -> LoadedCase:
    return load_case(case, lambda sizes, _: ReferFormerConfig(**sizes), ReferFormer, published_table)


def compare_network(case: GoldenCase) -> StageReport:
    loaded = load(case)
    heads = loaded.model.class_heads

    def own_stages(video, text, decoded, found):
        earlier = zip(heads[:-1], decoded.states[:-1], strict=True)
        yield "aux_logits", torch.stack([head(states) for head, states in earlier])[:, None]
        yield "aux_boxes", decoded.references[:-1, None]

    return compare_inference(loaded, own_stages)


def compare_layers(case: GoldenCase) -> StageReport:
    loaded = load(case)
    given = {name.removeprefix("in."): torch.from_numpy(case.arrays[name]) for name in case.names("in.")}
    shapes = [tuple(shape) for shape in given["shapes"].tolist()]
    encoder = loaded.model.queries.transformer.encoder[0].attention
    decoder = loaded.model.masks.decoder
    channels = loaded.config.transformer.hidden_size
    head = DynamicMaskHead(
        feature_channels=loaded.config.mask_channels,
        hidden_channels=loaded.config.dynamic_channels,
        layers=loaded.config.dynamic_layers,
    )

    def dynamic_masks():
        features = given["dyn.mask_features"][0]  # [t, c, h, w]; parameters come as (t q)
        height, width = given["dyn.size"].tolist()
        parameters = given["dyn.params"][0].unflatten(0, (len(features), -1))
        centres = given["dyn.reference"][0].unflatten(0, (len(features), -1)) * torch.tensor([width, height])
        return head(features, parameters, centres).flatten(0, 1)[None]

    def vision_language_block(level=1, frames=2, height=9, width=11):
        def maps(tokens):  # tokens are ordered (t h w)
            return tokens[:, 0].unflatten(0, (frames, height, width)).permute(0, 3, 1, 2)

        words, positions = (
            given[f"vlblock.{name}"].transpose(0, 1).expand(frames, -1, -1) for name in ("memory", "pos")
        )
        text = TextFeatures(words, positions, words[:, 0], torch.zeros(words.shape[:2], dtype=torch.bool))
        x, position = maps(given["vlblock.tgt"]), maps(given["vlblock.query_pos"])
        x = decoder.readings[level](decoder.talks[level](x.clone(), position, None, frames), position, text)
        return x.permute(0, 2, 3, 1).flatten(0, 2)[:, None]

    def attention(reference):
        padding = given["attn.padding"]
        return encoder(given["attn.query"], given[f"attn.{reference}"], given["attn.src"], shapes, None, padding)

    report = StageReport(str(case), layers=8)  # two attentions and a feed-forward network at most
    with torch.no_grad():
        sampled = ms_deform_attn(given["msda.value"], shapes, given["msda.locations"], given["msda.weights"])
        for stage, actual in {
            "msda": sampled,
            "attn.ref2": attention("ref2"),
            "attn.ref4": attention("ref4"),
            "sine1d": sine_encoding_1d(given["sine1d.mask"], channels).transpose(1, 2),
            "sine2d": sine_encoding_2d(given["sine2d.mask"], channels),
            "dyn": dynamic_masks(),
            "inverse_sigmoid": inverse_sigmoid(given["inverse_sigmoid"]),
            "vlblock": vision_language_block(),
        }.items():
            report.add(f"out.{stage}", actual, case.arrays[f"out.{stage}"])
    return report


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    match case.kind:
        case "inference":
            compare_network(case).check()
        case "layers":
            compare_layers(case).check()
        case "preprocess":
            compare_preprocessing(case, RESIZE).check()
        case "postprocess":
            compare_postprocessing(case).check()
        case "train":
            compare_training(load(case)).check()
        case kind:
            pytest.fail(f"unknown kind of golden case: {kind}")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "inference" and not c.is_full_size], ids=str)
def test_half_precision(case, precision):
    compare_half(load(case), precision)
