"""Parity with the published code, stage by stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from golden_cases import NETWORK, GoldenCase, StageReport, assert_half_close, find_cases, rounding
from program_kit.torch.precision import HALF, set_precision
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import normalise, resize_frame
from rvos_layers.inference.query_masks import choose_query, full_size_logits, full_size_probabilities
from soc.model import SOC
from soc_cases import Inputs, model_of, pack, runs_of
from torch import Tensor, nn

TRAINING = {"train", "train_data"}  # in test_training_goldens.py
CASES = [case for case in find_cases("soc", local=Path(__file__).parent / "goldens") if case.kind not in TRAINING]
PROBABILITY = rounding(1, NETWORK)


@contextmanager
def recorded(**modules: nn.Module) -> Iterator[dict[str, list]]:
    """Collect what modules return, under the names given."""
    outputs: dict[str, list] = {name: [] for name in modules}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: outputs[name].append(output))
        for name, module in modules.items()
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


class Comparison:
    """Compares stages that a case has; axes are brought into the published order by einops patterns."""

    def __init__(self, case: GoldenCase, inputs: Inputs, report: StageReport) -> None:
        self.case, self.inputs, self.report = case, inputs, report
        self.sizes = {"b": len(inputs.tokens.input_ids), "t": inputs.frames.shape[1]}
        self.compared: set[str] = set()

    def __call__(self, name: str, actual: Tensor, pattern: str | None = None) -> None:
        for prefix in (self.inputs.stages, "mid.", self.inputs.outputs):
            if prefix + name in self.case.arrays:
                break
        else:
            return
        if pattern is not None:
            actual = rearrange(actual, pattern, **{k: v for k, v in self.sizes.items() if k in pattern.split("->")[0]})
        self.compared.add(prefix + name)
        self.report.add(prefix + name, actual, self.case.arrays[prefix + name])

    def check_nothing_left_out(self) -> None:
        """Fail when the case holds a result of this run that was not compared."""
        own = [*self.case.names(self.inputs.stages), *self.case.names(self.inputs.outputs)]
        shared = [name for name in self.case.names("mid.") if not name.startswith("mid.exp")]
        left_out = {name for name in {*own, *shared} - self.compared if ".post." not in name}
        assert not left_out, f"{self.case}: not compared: {sorted(left_out)}"


def every(x: Tensor, step: int, axis: int) -> Tensor:
    return x.index_select(axis, torch.arange(0, x.shape[axis], step))


def four_channels(x: Tensor, axis: int) -> Tensor:
    return every(x, x.shape[axis] // 4, axis)


def compare_run(case: GoldenCase, model: SOC, inputs: Inputs) -> StageReport:
    """One published run, every intermediate result that the case holds, in the order of the data flow."""
    report = StageReport(f"{case}, {inputs.outputs}")
    compare = Comparison(case, inputs, report)
    with (
        torch.no_grad(),
        recorded(
            roberta=model.text.roberta, words=model.queries.words, transformer=model.queries.transformer,
            mask_features=model.mask_features, controller=model.controller,
        ) as seen,
    ):  # fmt: skip
        maps = [stage.flatten(0, 1) for stage in model.video.backbone(inputs.frames)]
        video = model.encode_video(inputs.frames, inputs.padding_mask)
        text = model.encode_text(inputs.tokens)
        aligned, sentence = model.alignment(video, text), model.alignment.sentence(video, text)
        fused = [model.queries.fuse_words(_asked(level, text), _repeated(text, video)) for level in video.levels]
        outputs = model.decode(video, text)
        mask_logits = model.predict_masks(video, text, outputs)
    for level, stage in enumerate(maps):
        compare(f"backbone.{level}", four_channels(stage, 1))
    for level, grid in enumerate(video.grids[:4]):
        compare(f"pos.{level}", every(grid.position[:1], model.video.hidden_size // 8, 1))
    compare("text_last_hidden", every(seen["roberta"][0].last_hidden_state, 4, 2))
    compare("text_pooled", seen["roberta"][0].pooler_output)
    compare("text_words", text.words, "b l c -> l b c")
    compare("text_sentence", text.sentence)
    for level, x in enumerate(fused):
        compare(f"vlf.{level}", four_channels(x, 1), "(b t) c h w -> (t h w) b c")
    compare("lvf.2", aligned, "b l c -> l b c")
    decoded = _joined(seen["transformer"])
    for level in range(3):
        compare(f"memory.{level}", four_channels(decoded["memory"][level], 1))
    compare("init_reference", decoded["initial_reference"])
    compare("hs", every(decoded["states"], 8, 3))
    compare("inter_references", decoded["references"])
    compare("mask_features", every(torch.cat(seen["mask_features"]), 2, 1), "(b t) c h w -> (t b) c h w")
    compare("controller.0", every(torch.cat(seen["controller"]), 4, 2), "(b t) q p -> t b q p")
    compare("pred_logit", outputs.clip_queries)
    compare("text_sentence_feature", sentence)
    compare_outputs(compare, outputs.logits, outputs.boxes, mask_logits)
    compare.check_nothing_left_out()
    return report


def compare_outputs(compare: Comparison, logits: Tensor, boxes: Tensor, mask_logits: Tensor) -> None:
    compare("pred_is_referred", logits.transpose(0, 1))
    compare("pred_boxes", boxes.transpose(0, 1))
    compare("pred_masks", mask_logits.transpose(0, 1))
    post = compare.inputs.outputs + "post."
    if post + "query_index" in compare.case.arrays:
        compare_answer(compare.case, compare.report, post, logits[0], boxes[0], mask_logits[0])


def compare_answer(
    case: GoldenCase, report: StageReport, prefix: str, logits: Tensor, boxes: Tensor, mask_logits: Tensor
) -> None:
    """What the inference script makes of the raw outputs [T, Q, ...] of one expression."""
    expected = {name.removeprefix(prefix): case.arrays[name] for name in case.names(prefix)}
    size = tuple(case.arrays["in.orig_size"].tolist())
    chosen = choose_query(logits)
    report.add(f"{prefix}query_index", chosen.query, expected["query_index"], 0)
    report.add(f"{prefix}class_info", chosen.scores, expected["class_info"], PROBABILITY)
    report.add(f"{prefix}key_frame_index", chosen.key_frame, expected["key_frame_index"], 0)
    report.add(f"{prefix}boxes", boxes[:, chosen.query], expected["boxes"], PROBABILITY)
    kept = mask_logits[:, chosen.query]
    near = rounding(mask_logits, NETWORK)  # those of one query may be small against what they are summed from
    report.add(f"{prefix}mask_logits", full_size_logits(kept, size), expected["mask_logits"], near)
    binary = np.stack([frame > 0.5 for frame in full_size_probabilities(kept, size)])
    published = np.unpackbits(expected["mask_binary_packed"], count=binary.size).astype(bool).reshape(binary.shape)
    certain = np.abs(expected["mask_logits"]) > near  # what is nearer to 0 may fall on either side
    report.add(f"{prefix}mask_binary_packed", binary & certain, published & certain, 0)


def _asked(level: Tensor, text) -> Tensor:
    """A level once for each expression, where expressions share the clip."""
    return level.repeat(len(text), 1, 1, 1) if len(level) % len(text) or len(text) == 1 else level


def _repeated(text, video):
    return text[torch.arange(len(text)).repeat_interleave(video.frames)]


def _joined(parts) -> dict:
    return {
        "states": torch.cat([part.states for part in parts], dim=1),
        "initial_reference": torch.cat([part.initial_reference for part in parts]),
        "references": torch.cat([part.references for part in parts], dim=1),
        "memory": [torch.cat(level) for level in zip(*(part.memory for part in parts), strict=True)],
    }


def compare_together(case: GoldenCase, model: SOC, runs: list[Inputs]) -> StageReport:
    """All expressions of a case in one pass, in which only the length of the expressions is padded."""
    report = StageReport(f"{case}, all expressions at once")
    tokens = pack([run.tokens for run in runs])
    with torch.no_grad():
        video, text = model.encode_video(runs[0].frames), model.encode_text(tokens)
        outputs = model.decode(video, text)
        mask_logits = model.predict_masks(video, text, outputs)
        kept = outputs.select(torch.tensor([choose_query(logits).query for logits in outputs.logits]))
        only_kept = model.predict_masks(video, text, kept)
    for place, run in enumerate(runs):
        compare = Comparison(case, run, report)
        some = slice(place, place + 1)
        compare_outputs(compare, outputs.logits[some], outputs.boxes[some], mask_logits[some])
        query = choose_query(outputs.logits[place]).query
        report.add(f"{run.outputs}kept query", only_kept[place, :, 0], mask_logits[place, :, query])
    return report


def compare_preprocessing(case: GoldenCase) -> StageReport:
    report = StageReport(str(case), layers=0)
    config = case.manifest["config"]
    rule = ResizeRule(short=config["size"], longest=config["max_size"])
    sizes = [rule.size((height, width)) for width, height in case.arrays["in.source_wh"].tolist()]
    report.add("out.resized_wh", np.array(sizes)[:, ::-1], case.arrays["out.resized_wh"])
    for name in [name.split(".")[1] for name in case.names("in.") if name.endswith("source_u8")]:
        short, longest = case.arrays[f"in.{name}.size_max"].tolist()
        source = case.arrays[f"in.{name}.source_u8"]
        resized = resize_frame(source, ResizeRule(short=short, longest=longest).size(source.shape[:2]))
        # Another version of Pillow may change a few values by one.
        report.add(f"out.{name}.resized_u8", resized, case.arrays[f"out.{name}.resized_u8"], 1)
        exact = normalise(torch.from_numpy(case.arrays[f"out.{name}.resized_u8"]))
        report.add(f"out.{name}.tensor", exact, case.arrays[f"out.{name}.tensor"], rounding(exact))
    return report


def compare_postprocessing(case: GoldenCase) -> StageReport:
    report = StageReport(str(case))
    raw = [torch.from_numpy(case.arrays[f"in.pred_{name}"])[:, 0] for name in ("is_referred", "boxes", "masks")]
    compare_answer(case, report, "out.", *raw)
    return report


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    match case.kind:
        case "inference":
            model, runs = model_of(case), runs_of(case)
            for run in runs:
                compare_run(case, model, run).check()
            if len(runs) > 1:
                compare_together(case, model, runs).check()
        case "preprocess":
            compare_preprocessing(case).check()
        case "postprocess":
            compare_postprocessing(case).check()
        case kind:
            pytest.fail(f"unknown kind of golden case: {kind}")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "inference" and not c.is_full_size], ids=str)
def test_half_precision(case, precision):
    model = model_of(case)
    set_precision(model, precision)
    for run in runs_of(case):
        with torch.no_grad():
            video, text = model.encode_video(run.frames, run.padding_mask), model.encode_text(run.tokens)
            outputs = model.decode(video, text)
            masks = model.predict_masks(video, text, outputs)
        found = {"pred_is_referred": outputs.logits, "pred_boxes": outputs.boxes, "pred_masks": masks}
        for name, actual in found.items():
            assert actual.dtype == torch.float32
            expected = case.arrays[run.outputs + name]
            assert_half_close(actual.transpose(0, 1), expected, torch.finfo(HALF[precision]).eps)


def test_cases_travel_with_the_package():
    assert {case.kind for case in CASES} >= {"inference", "preprocess", "postprocess"}
