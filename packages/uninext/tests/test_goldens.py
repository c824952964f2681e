"""Parity with the published code, stage by stage, on every golden case that is found."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import NETWORK, GoldenCase, StageReport, assert_close, assert_half_close, find_cases, rounding
from program_kit.options import Precision
from program_kit.torch.precision import HALF, set_precision
from uninext.backbone import flatten_levels
from uninext.config import ImageConfig
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.heads import pool_text
from uninext.model import QueryOutputs, Uninext
from uninext.predict import mask_probabilities, query_scores, top_queries
from uninext.preprocess import FramePreprocessor, as_pixels, clean_expression
from uninext.text_encoder import EncodedText, cut_padding

CASES = find_cases("uninext", local=Path(__file__).parent / "goldens")
PROBABILITY = rounding(1, NETWORK)


@pytest.mark.parametrize("case", [pytest.param(c, id=str(c), marks=[pytest.mark.full] * c.is_full_size) for c in CASES])
def test_golden(case: GoldenCase, network_of: Callable[[GoldenCase], Uninext]) -> None:
    with torch.inference_mode():
        match case.kind:
            case "inference":
                check_inference(case, network_of(case))
            case "preprocess":
                check_preprocess(case)
            case "postprocess":
                check_postprocess(case)
            case kind:
                raise AssertionError(f"{case}: no check for kind {kind!r}")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "inference" and not c.is_full_size], ids=str)
@torch.inference_mode()
def test_half_precision(case: GoldenCase, network_of: Callable[[GoldenCase], Uninext], precision: Precision) -> None:
    """From the proposals on with those of the golden, as rounding rearranges them: frame 0, expression 0."""
    arrays, network = case.arrays, deepcopy(network_of(case))
    set_precision(network, precision)
    geometry = frame_geometry(arrays["in.frames"].shape[1:3], network.config.hidden_size)
    image = FramePreprocessor(network.config.image).normalise(as_pixels(arrays["in.frames"][0]))
    ids, is_token = (torch.from_numpy(arrays[f"in.{name}"]) for name in ("input_ids", "attention_mask"))
    text = network.encode_text(*cut_padding(ids, is_token == 0))
    memory, words = network.fuse_and_encode(network.encode_frame(image, geometry), text)
    scores = network.proposals(memory, geometry).scores
    start = torch.from_numpy(arrays["mid.init_reference"])[None]
    decoded = network.decoder(start, memory[:1], geometry)
    outputs = network.apply_heads(decoded, pool_text(words, text.padding_mask)[:1], memory[:1], geometry)
    masks = network.predict_masks(outputs, torch.from_numpy(arrays["out.pred_masks_queries"])[None])
    epsilon = torch.finfo(HALF[precision]).eps
    assert_half_close(memory[0, ::11, ::8].float(), arrays["mid.memory"], epsilon)
    for name, actual, expected in (
        ("scores of tokens", scores, arrays["mid.enc_class"][:, 0]),
        ("logits", outputs.class_logits, arrays["out.pred_logits"][:1, 0, :, 0]),
        ("overlaps", outputs.iou_logits, arrays["out.pred_boxious"][:1, 0, :, 0]),
        ("boxes", outputs.boxes, arrays["out.pred_boxes"][:1, 0]),
        ("masks", masks, arrays["out.pred_masks_sub"][:1]),
    ):
        assert actual.dtype == torch.float32, name
        assert_half_close(actual, expected, epsilon)


def check_preprocess(case: GoldenCase) -> None:
    given, arrays = case.manifest["config"], case.arrays
    assert given["interpolation"] == "PIL bilinear on uint8"
    limits = {"short_side": given["short_edge"], "long_side_limit": given["max_long_edge"]}
    scale = {"mean": tuple(given["pixel_mean"]), "std": tuple(given["pixel_std"])}
    preprocess = FramePreprocessor(ImageConfig(**limits, **scale))
    for name in case.names("in.raw"):
        number = name.removeprefix("in.raw")
        resized = preprocess.resize(arrays[name])
        np.testing.assert_array_equal(resized, arrays[f"out.resized{number}"])
        assert_close(preprocess.normalise(preprocess(arrays[name])), arrays[f"out.batch{number}"])
        padding = full_padding(frame_geometry(resized.shape[:2], 32))
        np.testing.assert_array_equal(padding, arrays[f"out.padmask{number}"])
    published = FramePreprocessor(ImageConfig())
    sizes = [published.network_size((int(h), int(w))) for h, w in arrays["in.sizes"]]
    np.testing.assert_array_equal(sizes, arrays["out.sizes_480_1333"])
    for text, cleaned in case.manifest["clean_string"]:
        assert clean_expression(text) == cleaned


def full_padding(geometry: FrameGeometry) -> np.ndarray:
    padding = np.ones(geometry.padded_size, bool)
    padding[: geometry.image_size[0], : geometry.image_size[1]] = False
    return padding


def check_postprocess(case: GoldenCase) -> None:
    arrays = {name: torch.from_numpy(np.asarray(value)) for name, value in case.arrays.items()}
    for video in range(case.manifest["config"]["videos"]):
        net_size, size = (tuple(arrays[f"in.{name}{video}"].tolist()) for name in ("net_size", "orig_size"))
        scores = query_scores(arrays[f"in.pred_logits{video}"], arrays[f"in.pred_boxious{video}"]).flatten(1)
        index, score = top_queries(scores)
        logits = arrays[f"in.pred_masks{video}"][torch.arange(len(index)), index, 0]
        probability = mask_probabilities(logits, net_size, size)
        report = StageReport(f"{case} video {video}", layers=4)  # sigmoids and two resizings
        report.add("query", index, arrays[f"out.query_index{video}"], 0)
        report.add("score", score, arrays[f"out.score{video}"])
        report.add("probability", probability, arrays[f"out.mask_prob{video}"])
        report.add("key frame", score.argmax(), arrays[f"out.key_frame{video}"], 0)
        settled = (arrays[f"out.mask_prob{video}"] - 0.5).abs() > rounding(1, layers=4)
        report.add("mask", (probability > 0.5)[settled], arrays[f"out.mask{video}"][settled], 0)
        report.check()


@dataclass
class Subsampled:
    """Subsamples an array as the notes of the manifest say, such as `[::2, ::3]`."""

    case: GoldenCase

    def __call__(self, name: str, value: torch.Tensor) -> torch.Tensor:
        found = re.search(r"\[((?:::\d+(?:, )?)+)\]", self.case.manifest["subsampling"].get(name, ""))
        assert found, f"{self.case}: the manifest does not say how {name} is subsampled"
        return value[tuple(slice(None, None, int(step)) for step in re.findall(r"\d+", found[1]))]


def check_inference(case: GoldenCase, network: Uninext) -> None:
    arrays = case.arrays
    image_size = arrays["in.frames"].shape[1:3]
    output_size = tuple(arrays["in.orig_size"].tolist())
    geometry = frame_geometry(image_size, network.config.hidden_size)
    preprocess = FramePreprocessor(network.config.image)
    images = [preprocess.normalise(as_pixels(frame)) for frame in arrays["in.frames"]]
    ids, is_token = (torch.from_numpy(arrays[f"in.{name}"]) for name in ("input_ids", "attention_mask"))
    text = network.encode_text(*cut_padding(ids, is_token == 0))
    report = StageReport(str(case))
    add_stages(report, case, network, images[0], text, geometry)

    frames = [network.encode_frame(image, geometry) for image in images]
    outputs = [network.decode(frame, text) for frame in frames]  # all expressions in one batch
    add_outputs(report, case, network, outputs, output_size)
    report.check()


def add_stages(
    report: StageReport,
    case: GoldenCase,
    network: Uninext,
    image: torch.Tensor,
    text: EncodedText,
    geometry: FrameGeometry,
) -> None:
    """Every `mid.*` array, in the order of the data flow; expression 0, frame 0 unless the array has more."""
    arrays, subsampled = case.arrays, Subsampled(case)
    words = ~text.padding_mask.numpy()
    report.add("text_hidden", text.words[..., ::8].numpy()[words], arrays["mid.text_hidden"][words])
    maps = network.backbone(image[None])
    for name, value in maps.items():
        report.add(f"backbone_{name}", subsampled(f"mid.backbone_{name}", value[0]), arrays[f"mid.backbone_{name}"])
    levels = network.pyramid(list(maps.values()))
    paddings = geometry.split(geometry.padding[:, None])
    for i, (level, padding) in enumerate(zip(levels, paddings, strict=True)):
        report.add(f"src{i}", subsampled(f"mid.src{i}", level[0]), arrays[f"mid.src{i}"])
        report.add(f"padmask{i}", padding[0], arrays[f"mid.padmask{i}"], 0)
    positions = geometry.split(geometry.position_encoding)
    report.add("pos0", positions[0][::16, ::4, ::4], arrays["mid.pos0"])
    report.add("pos3", positions[3][::16], arrays["mid.pos3"])

    image_inputs = network.fusion.prepare_image(flatten_levels(levels)[0])
    tokens, fused = network.fusion(image_inputs, text.words, text.padding_mask)
    report.add("text_fused", fused[..., ::8].numpy()[words], arrays["mid.text_fused"][words])
    report.add("vl_visual", tokens[0, ::11, ::8], arrays["mid.vl_visual"])
    memory = tokens
    for i, layer in enumerate(network.encoder):
        memory = layer(memory, network.pyramid.position_encoding(geometry), geometry)
        report.add(f"encoder layer {i}", memory[0, ::23, ::8], arrays["mid.encoder_layers"][i])
    report.add("memory", memory[0, ::11, ::8], arrays["mid.memory"])
    proposals = network.proposals(memory, geometry)
    report.add("enc_class", proposals.scores, arrays["mid.enc_class"][:, 0])
    report.add("topk", proposals.indices, arrays["mid.topk"][:, 0], 0)
    report.add("init_reference", proposals.references[0], arrays["mid.init_reference"])
    decoded = network.decoder(proposals.references, memory, geometry)
    step = 1 if arrays["mid.decoder_hs"].shape[1] == network.config.num_queries else 9  # as the manifest's notes say
    for i, queries in enumerate(decoded.queries):
        report.add(f"decoder layer {i}", queries[0, ::step, ::8], arrays["mid.decoder_hs"][i])
        report.add(f"decoder boxes {i}", decoded.references[i + 1][0, ::step], arrays["mid.decoder_refs"][i])
    features = network.mask_features(geometry.split(memory)[:3])
    report.add("mask_feats", features[0], arrays["mid.mask_feats"])
    parameters = network.dynamic_mask.controller(decoded.queries[-1])
    report.add("mask_params", parameters[0, ::step], arrays["mid.mask_params"])
    last = network.apply_heads(decoded, pool_text(fused, text.padding_mask), memory, geometry)
    sampled = torch.from_numpy(arrays["out.pred_masks_queries"]).expand(len(text), -1)
    logits = network.predict_masks(last, sampled)
    report.add("masks of some queries", logits, arrays["out.pred_masks_sub"])


def add_outputs(
    report: StageReport, case: GoldenCase, network: Uninext, outputs: list[QueryOutputs], output_size: tuple[int, int]
) -> None:
    """Every `out.*` array; leading axes are (expressions, frames)."""
    arrays = case.arrays

    def over_frames(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(values, 1)

    report.add("logits", over_frames([one.class_logits for one in outputs]), arrays["out.pred_logits"][..., 0])
    report.add("IoU logits", over_frames([one.iou_logits for one in outputs]), arrays["out.pred_boxious"][..., 0])
    report.add("boxes", over_frames([one.boxes for one in outputs]), arrays["out.pred_boxes"])
    chosen = [top_queries(query_scores(one.class_logits, one.iou_logits)) for one in outputs]
    scores = over_frames([score for _, score in chosen])
    report.add("query", over_frames([index for index, _ in chosen]), arrays["out.query_index"], 0)
    report.add("score", scores, arrays["out.score"], PROBABILITY)
    report.add("key frame", scores.argmax(1), arrays["out.key_frame"], 0)
    logits = [network.predict_masks(one, index[:, None])[:, 0] for one, (index, _) in zip(outputs, chosen, strict=True)]
    report.add("mask logits", over_frames(logits), arrays["out.pred_mask_selected"])
    image_size = outputs[0].geometry.image_size
    probability = over_frames([mask_probabilities(x, image_size, output_size) for x in logits])
    near = rounding(arrays["out.pred_mask_selected"], NETWORK) / 4  # a sigmoid rises by a quarter at most
    report.add("probability, whole", probability[0, 0], arrays["out.mask_prob_first"], near)
    report.add("probability, all", probability[..., ::3, ::3], arrays["out.mask_prob_sub3"], near)
    pixels = output_size[0] * output_size[1]
    expected = np.unpackbits(arrays["out.mask_packed"], axis=-1)[..., :pixels].reshape(probability.shape)
    settled = (probability - 0.5).abs().numpy() > near  # what is nearer to one half may fall on either side
    report.add("mask", (probability > 0.5).numpy()[settled], expected[settled], 0)
