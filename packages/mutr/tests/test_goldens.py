"""Parity with the published code, stage by stage."""

from pathlib import Path

import pytest
import torch
from golden_cases import GoldenCase, StageReport, find_cases
from golden_cases.grounded.inference_cases import compare_half, compare_inference
from golden_cases.grounded.loading import LoadedCase, load_case
from golden_cases.grounded.processing_cases import compare_postprocessing, compare_preprocessing
from golden_cases.grounded.training_cases import compare_training
from mutr.checkpoint import published_table
from mutr.config import MUTRConfig
from mutr.model import MUTR
from mutr.preprocess import RESIZE

CASES = find_cases("mutr", local=Path(__file__).parent / "goldens")
BUILT_IN = {"mta_layers": 1, "mta_nhead": 8}


def load(case: GoldenCase) -> LoadedCase:
    def config(sizes, fixed):
        for name, value in BUILT_IN.items():
            assert fixed[name] == value, name
        widths = {fixed["mta_dim_feedforward"], fixed["mti_dim_feedforward"]}
        assert widths == {sizes["transformer"].feedforward_dim}
        assert fixed["mti_enc_layers"] == fixed["mti_dec_layers"]
        return MUTRConfig(
            **sizes,
            window=fixed["mti_window_size"],
            interaction_layers=fixed["mti_enc_layers"],
            interaction_num_heads=fixed["mti_nheads"],
        )

    return load_case(case, config, MUTR, published_table)


def compare_network(case: GoldenCase) -> StageReport:
    loaded = load(case)
    model = loaded.model
    assert isinstance(model, MUTR)

    def own_stages(video, text, decoded, found):
        for level, words in enumerate(model.aggregation(video, text)):
            yield f"mta.{level}", words[0, :, :: words.shape[2] // 32]
        yield "mti", found.states[None, :, 0]

    return compare_inference(loaded, own_stages)


def compare_interaction(case: GoldenCase) -> StageReport:
    model = load(case).model
    assert isinstance(model, MUTR)
    report = StageReport(str(case), layers=30)  # up to 3 layers of two attentions and a feed-forward network, twice
    for name in case.names("in."):
        frames = name.split(".")[1]
        queries = torch.from_numpy(case.arrays[name])[None]
        with torch.no_grad():
            exchanged = model.interaction.transformer.encode(queries)[0]
            clip_queries = model.interaction(queries)[0]
        step = exchanged.shape[2] // case.arrays[f"mid.{frames}.encoded"].shape[2]
        report.add(f"mid.{frames}.encoded", exchanged[..., ::step], case.arrays[f"mid.{frames}.encoded"])
        report.add(f"out.{frames}.mti", clip_queries, case.arrays[f"out.{frames}.mti"])
    return report


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    match case.kind:
        case "inference":
            compare_network(case).check()
        case "mti":
            compare_interaction(case).check()
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
