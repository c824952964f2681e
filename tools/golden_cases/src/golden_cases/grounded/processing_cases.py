"""Cases of kind `preprocess` and `postprocess`: what happens before and after the network."""

import torch
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import make_clip, resized
from rvos_layers.inference.query_masks import THRESHOLD, choose_query, full_size_logits, full_size_probabilities

from golden_cases import GoldenCase, StageReport, rounding

EXACT, PROBABILITY = 0.0, rounding(1)
KEPT = 9  # every ninth row and column of a resized image is in the case


def compare_preprocessing(case: GoldenCase, rule: ResizeRule) -> StageReport:
    """Images through a program's resizing and normalisation."""
    report = StageReport(str(case), layers=2)  # resizing is two weighted sums, normalisation or a mean not even one
    for name in case.names("in."):
        i = name.split(".")[1]
        clip = make_clip(list(resized([case.arrays[name]], rule)))[0, 0]
        report.add(f"out.{i}.size", clip.shape[1:], case.arrays[f"out.{i}.size"], EXACT)
        report.add(f"out.{i}.sample", clip[:, ::KEPT, ::KEPT], case.arrays[f"out.{i}.sample"])
        report.add(f"out.{i}.channel_mean", clip.mean((1, 2)), case.arrays[f"out.{i}.channel_mean"], rounding(clip))
    return report


def compare_postprocessing(case: GoldenCase) -> StageReport:
    """Raw outputs to query, scores, key frame and masks."""
    report = StageReport(str(case), layers=2)
    for name in case.names("in."):
        if not name.endswith(".pred_logits"):
            continue
        i = name.split(".")[1]
        given = {key: torch.from_numpy(case.arrays[f"in.{i}.{key}"]) for key in ("pred_logits", "pred_masks")}
        size = tuple(case.arrays[f"in.{i}.origin_size"].tolist())
        chosen = choose_query(given["pred_logits"])
        masks = given["pred_masks"][:, chosen.query]
        expected = {key.removeprefix(f"out.{i}."): case.arrays[key] for key in case.names(f"out.{i}.")}
        report.add(f"out.{i}.query", [chosen.query], expected["query"], EXACT)
        report.add(f"out.{i}.class_info", chosen.scores, expected["class_info"], PROBABILITY)
        report.add(f"out.{i}.key_frame", [chosen.key_frame], expected["key_frame"], EXACT)
        report.add(f"out.{i}.mask_logits", full_size_logits(masks, size), expected["mask_logits"])
        binary = [frame > THRESHOLD for frame in full_size_probabilities(masks, size)]
        report.add(f"out.{i}.mask", binary, expected["mask"], EXACT)
        report.add(f"out.{i}.png", [mask * 255 for mask in binary], expected["png"], EXACT)
    return report
