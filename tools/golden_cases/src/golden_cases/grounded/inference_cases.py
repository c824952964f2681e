"""Cases of kind `inference`: a clip with several expressions, or several clips in one batch."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from program_kit.options import Precision
from program_kit.torch.precision import HALF, set_precision
from rvos_layers.blocks.deformable import DecodedQueries
from rvos_layers.encoders.config import PAD
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.masks import GroundedOutputs
from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.preprocess import normalise
from rvos_layers.inference.query_masks import ChosenQuery, choose_query, full_size_logits
from torch import Tensor

from golden_cases import NETWORK, GoldenCase, StageReport, assert_half_close, rounding
from golden_cases.grounded.loading import LoadedCase

EXACT = 0.0
PROBABILITY = rounding(1, NETWORK)
SHOWN = 8  # channels kept of most intermediate maps; the manifest's notes describe all of this
# What a model adds to the comparison of an expression: (stage name, tensor) in the order of the data flow.
OwnStages = Callable[[VideoFeatures, TextFeatures, DecodedQueries, GroundedOutputs], Iterable[tuple[str, Tensor]]]


def compare_inference(loaded: LoadedCase, own_stages: OwnStages) -> StageReport:
    """Run a case as published, one expression at a time, and then with all expressions together.

    Returns:
        The stages, not checked yet.
    """
    report = StageReport(str(loaded.case))
    with torch.no_grad():
        if "in.frames_u8" in loaded.case.arrays:
            _compare_clip(loaded, own_stages, report)
        else:
            _compare_batch(loaded, report)
    _check_nothing_left_out(loaded.case, report)
    return report


def compare_half(loaded: LoadedCase, precision: Precision) -> None:
    """Compare what a case's network gives in a half precision with the published results.

    Raises:
        AssertionError: it is further off than the type explains.
    """
    case, model = loaded.case, loaded.model
    epsilon = torch.finfo(HALF[precision]).eps
    set_precision(model, precision)
    clips, tokens = (
        [name for name in case.names("in.") if name.endswith(suffix)] for suffix in ("frames_u8", "input_ids")
    )
    with torch.no_grad():
        video = model.encode_video(torch.cat([_clip(case, name) for name in clips]))
        text = model.encode_text(padded_tokens([token_ids(case, name) for name in tokens]))
        found = model.decode(video, text)
        masks = model.predict_masks(video, text, found)
    for name, actual in {"pred_logits": found.logits, "pred_boxes": found.boxes, "pred_masks": masks}.items():
        assert actual.dtype == torch.float32
        expected = np.concatenate([case.arrays[out] for out in case.names("out.") if out.endswith(name)])
        assert_half_close(actual, expected, epsilon)


def _check_nothing_left_out(case: GoldenCase, report: StageReport) -> None:
    """Fail when a result of the case was not compared, except areas of masks that were."""
    compared = {stage for stage, *_ in report.rows}
    results = [name for prefix in ("out.", "mid.", "post.") for name in case.names(prefix)]
    left_out = [name for name in results if name not in compared and not name.endswith(".mask_area")]
    assert not left_out, f"{case}: not compared: {left_out}"


def _compare_clip(loaded: LoadedCase, own_stages: OwnStages, report: StageReport) -> None:
    case, model = loaded.case, loaded.model
    frames = _clip(case, "in.frames_u8")
    video = model.encode_video(frames)
    _compare_video(case, model, frames, video, report)
    count = len(case.names("out.")) and sum(name.endswith(".pred_logits") for name in case.arrays)
    expressions = [token_ids(case, f"in.{i}.input_ids") for i in range(count)]
    for i, tokens in enumerate(expressions):
        _compare_expression(loaded, own_stages, report, i, tokens, video)
    text = model.encode_text(padded_tokens(expressions))
    found = model.decode(video, text)
    masks = model.predict_masks(video, text, found)
    for i in range(count):
        _compare_outputs(case, f"out.{i}.", found, masks, i, report, " of a batch")


def _compare_video(
    case: GoldenCase, model: GroundedSegmenter, frames: Tensor, video: VideoFeatures, report: StageReport
) -> None:
    for i, stage in enumerate(model.video.backbone(frames)):
        report.add(f"mid.backbone.{i}", _thin(stage[0, :2], 1), case.arrays[f"mid.backbone.{i}"])
    report.add("mid.pos.1", _thin(video.grids[1].position[0], 0), case.arrays["mid.pos.1"])


def _compare_expression(
    loaded: LoadedCase, own_stages: OwnStages, report: StageReport, i: int, tokens: Tensor, video: VideoFeatures
) -> None:
    case, model = loaded.case, loaded.model
    expected, middle = case.arrays, f"mid.{i}."
    batch = padded_tokens([tokens])
    hidden = model.text.roberta(batch.input_ids, batch.padding_mask)
    text = model.encode_text(batch)
    report.add(middle + "text_hidden", hidden.last_hidden_state[0, :, :32], expected[middle + "text_hidden"])
    report.add(middle + "text_pooler", hidden.pooler_output[0], expected[middle + "text_pooler"])
    report.add(middle + "text_word", text.words[0], expected[middle + "text_word"])
    report.add(middle + "text_sentence", text.sentence[0], expected[middle + "text_sentence"])
    for level, pixels in enumerate(video.levels):
        fused = _thin(model.queries.fuse_words(pixels[:1], text)[0], 0).flatten(1).T
        report.add(f"{middle}fused.{level}", fused, expected[f"{middle}fused.{level}"])

    found, decoded = _found(model, video, text)
    for level, memory in enumerate(decoded.memory):
        report.add(f"{middle}memory.{level}", _thin(memory[-1:], 1), expected[f"{middle}memory.{level}"])
    report.add(middle + "hs", _thin(decoded.states, 3, 32), expected[middle + "hs"])
    report.add(middle + "init_reference", decoded.initial_reference[0], expected[middle + "init_reference"])
    report.add(middle + "inter_references", decoded.references, expected[middle + "inter_references"])
    for name, stage in own_stages(video, text, decoded, found):
        report.add(middle + name, stage, expected[middle + name])
    *_, (_, maps) = model.masks.decoder(video, text, found.memory)
    features = model.masks.decoder.output(maps)[-1]
    report.add(middle + "mask_features", _thin(features, 0), expected[middle + "mask_features"])
    parameters = model.masks.controller(found.states)[0, ..., :64]
    report.add(middle + "controller", parameters, expected[middle + "controller"])

    masks = model.predict_masks(video, text, found)
    _compare_outputs(case, f"out.{i}.", found, masks, 0, report)
    before_last = decoded.references[-2].unflatten(0, (1, -1))[..., :2]
    report.add(f"out.{i}.reference_points", before_last, expected[f"out.{i}.reference_points"])
    _compare_chosen(case, f"post.{i}.", video, text, found, model, report)


def _compare_outputs(
    case: GoldenCase, prefix: str, found: GroundedOutputs, masks: Tensor, row: int, report: StageReport, how: str = ""
) -> None:
    expected = case.arrays
    report.add(f"{prefix}pred_logits{how}", found.logits[row, None], expected[prefix + "pred_logits"])
    report.add(f"{prefix}pred_boxes{how}", found.boxes[row, None], expected[prefix + "pred_boxes"])
    report.add(f"{prefix}pred_masks{how}", masks[row, None], expected[prefix + "pred_masks"])


def _compare_chosen(
    case: GoldenCase,
    prefix: str,
    video: VideoFeatures,
    text: TextFeatures,
    found: GroundedOutputs,
    model: GroundedSegmenter,
    report: StageReport,
) -> None:
    expected = {name.removeprefix(prefix): case.arrays[name] for name in case.names(prefix)}
    chosen: ChosenQuery = choose_query(found.logits[0])
    kept = found.select(torch.tensor([chosen.query]))
    height, width = case.arrays["in.origin_size"].tolist()
    logits = full_size_logits(model.predict_masks(video, text, kept)[0, :, 0], (height, width))
    near = rounding(case.arrays[prefix.replace("post.", "out.") + "pred_masks"], NETWORK)  # also where a mean is small
    binary = np.unpackbits(expected["mask_bits"], count=logits.numel()).astype(bool).reshape(logits.shape)
    certain = logits.abs().numpy() > near  # what is nearer to 0 may fall on either side
    flipped = (binary != (logits > 0).numpy()) & certain
    report.add(prefix + "query", [chosen.query], expected["query"], EXACT)
    scores = found.logits[0].sigmoid().mean(0).amax(-1)
    report.add(prefix + "query_score", scores, expected["query_score"], PROBABILITY)
    report.add(prefix + "class_info", chosen.scores, expected["class_info"], PROBABILITY)
    report.add(prefix + "key_frame", [chosen.key_frame], expected["key_frame"], EXACT)
    report.add(prefix + "mask_logits", logits[:, ::3, ::3], expected["mask_logits"], near)
    report.add(prefix + "mask_logits_mean", logits.double().mean((1, 2)), expected["mask_logits_mean"], near)
    report.add(prefix + "mask_bits", flipped, np.zeros_like(binary), EXACT)


def _compare_batch(loaded: LoadedCase, report: StageReport) -> None:
    case, model = loaded.case, loaded.model
    count = len([name for name in case.names("in.") if name.endswith(".frames_u8")])
    video = model.encode_video(torch.cat([_clip(case, f"in.{i}.frames_u8") for i in range(count)]))
    text = model.encode_text(padded_tokens([token_ids(case, f"in.{i}.input_ids") for i in range(count)]))
    found, decoded = _found(model, video, text)
    masks = model.predict_masks(video, text, found)
    report.add("out.pred_logits", found.logits, case.arrays["out.pred_logits"])
    report.add("out.pred_boxes", found.boxes, case.arrays["out.pred_boxes"])
    report.add("out.pred_masks", masks, case.arrays["out.pred_masks"])
    before_last = decoded.references[-2].unflatten(0, (count, -1))[..., :2]
    report.add("out.reference_points", before_last, case.arrays["out.reference_points"])


def _found(
    model: GroundedSegmenter, video: VideoFeatures, text: TextFeatures
) -> tuple[GroundedOutputs, DecodedQueries]:
    """What the model finds, and what its decoder gave on the way."""
    decodings: list[DecodedQueries] = []

    def keep(_module: torch.nn.Module, _inputs: object, decoded: DecodedQueries) -> None:
        decodings.append(decoded)

    watch = model.queries.register_forward_hook(keep)
    found = model.decode(video, text)
    watch.remove()
    return found, decodings[0]


def _clip(case: GoldenCase, name: str) -> Tensor:
    return normalise(torch.from_numpy(case.arrays[name]))[None]


def token_ids(case: GoldenCase, name: str) -> Tensor:
    """Token ids int64[L] of one expression."""
    return torch.from_numpy(case.arrays[name]).reshape(-1)


def padded_tokens(expressions: list[Tensor]) -> Tokens:
    """Expressions as one batch."""
    ids = torch.nn.utils.rnn.pad_sequence(expressions, batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(ids) for ids in expressions])
    return Tokens(ids, torch.arange(ids.shape[1]) >= lengths[:, None])


def _thin(x: Tensor, axis: int, kept: int = SHOWN) -> Tensor:
    step = x.shape[axis] // kept
    return x.index_select(axis, torch.arange(0, x.shape[axis], step))
