"""Cases of kind `train`: a batch of clips with their targets, forward and backward, as published."""

from collections.abc import Sequence

import numpy as np
import torch
from program_kit.torch.checkpoint.table import Rule, our_name
from rvos_layers.blocks.attention import Attention
from rvos_layers.encoders.video_swin import StochasticDepth
from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.preprocess import normalise
from rvos_training.data.batches import Batch, collate
from rvos_training.data.transforms import Sample
from rvos_training.losses.criterion import Losses
from rvos_training.losses.grounded_objective import criterion, layer_predictions
from rvos_training.losses.targets import Predictions
from torch import Tensor, nn

from golden_cases import GRADIENT, GoldenCase, StageReport
from golden_cases.grounded.inference_cases import EXACT, padded_tokens, token_ids
from golden_cases.grounded.loading import LoadedCase

MULTIPLE = 32  # height and width of a batch's frames are multiples of this many pixels
TERMS = {"label": "loss_ce", "box": "loss_bbox", "giou": "loss_giou", "focal": "loss_mask", "dice": "loss_dice"}
NO_GRADIENT = 1e-6  # of the whole gradient's norm; smaller ones are zero but for rounding, as that of the keys' bias


def compare_training(loaded: LoadedCase) -> StageReport:
    """Run a case forward and backward.

    Args:
        loaded: the case and its model, which this changes.

    Returns:
        The stages, not checked yet.
    """
    case, model = loaded.case, without_dropout(loaded.model)
    model.faithful = True
    if case.manifest["config"]["options"]["freeze_text_encoder"]:
        model.text.roberta.requires_grad_(False)
    batch, published = batch_of(case), criterion(faithful=True)
    video = model.encode_video(batch.frames, batch.padding_mask)
    layers = layer_predictions(model, video, model.encode_text(batch.tokens))
    losses = published(layers, batch.targets)
    losses.total.backward()

    report = StageReport(str(case))
    report.add("out.padded_size", batch.frames.shape[-2:], case.arrays["out.padded_size"], EXACT)
    _compare_last_layer(case, layers[-1], report)
    costs = torch.stack([published.matcher.costs(layer, batch.targets) for layer in _last_first(layers)])
    report.add("out.matching_cost", costs, case.arrays["out.matching_cost"])
    queries = torch.stack(_last_first(list(losses.queries)))
    report.add("out.matched_query", queries, case.arrays["out.matched_query"], EXACT)
    _compare_losses(case, losses, report)
    _compare_gradients(case, model, loaded.table, report)
    return report


def without_dropout(model: GroundedSegmenter) -> GroundedSegmenter:
    """The model in training mode without dropout, as for the cases."""
    for module in model.train().modules():
        match module:
            case nn.Dropout() | StochasticDepth():
                module.p = 0.0
            case Attention():
                module.dropout = 0.0
    return model


def batch_of(case: GoldenCase) -> Batch:
    """The clips of a case, padded as in training."""
    count = sum(name.endswith(".input_ids") for name in case.arrays)
    tokens = padded_tokens([token_ids(case, f"in.{i}.input_ids") for i in range(count)])
    return collate([_sample(case, f"in.{i}.") for i in range(count)], lambda _: tokens, MULTIPLE)


def _sample(case: GoldenCase, prefix: str) -> Sample:
    given = {name: case.arrays[prefix + name] for name in ("frames_u8", "boxes", "valid", "masks_packed", "size")}
    shape = given["frames_u8"].shape[:3]
    assert tuple(given["size"]) == shape[1:]
    masks = np.unpackbits(given["masks_packed"], count=int(np.prod(shape))).reshape(shape)
    return Sample(
        name=prefix,
        text="",
        frames=normalise(torch.from_numpy(given["frames_u8"])),
        masks=torch.from_numpy(masks).bool(),
        boxes=torch.from_numpy(given["boxes"]),
        visible=torch.from_numpy(given["valid"]).bool(),
    )


def _last_first(layers: list) -> list:
    """In the order of the cases: the last layer, then the others from the first on."""
    return [layers[-1], *layers[:-1]]


def _compare_last_layer(case: GoldenCase, last: Predictions, report: StageReport) -> None:
    report.add("out.pred_logits", last.logits.detach(), case.arrays["out.pred_logits"])
    report.add("out.pred_boxes", last.boxes.detach(), case.arrays["out.pred_boxes"])
    with torch.no_grad():
        masks = last.predict_all_masks()
    report.add("out.pred_masks_0", masks[0, ::2], case.arrays["out.pred_masks_0"])


def _compare_losses(case: GoldenCase, losses: Losses, report: StageReport) -> None:
    ours = {}
    for term, value in losses.terms.items():
        name, _, layer = term.partition("_")
        ours["_".join((TERMS[name], layer)) if layer else TERMS[name]] = value.item()
    names = case.manifest["loss_names"]
    assert ours.keys() == set(names)
    assert sorted(ours) == sorted(case.manifest["loss_weights"])
    expected = case.arrays["out.losses"]
    report.add("out.losses", [ours[name] for name in names] / expected, np.ones_like(expected))
    total = case.arrays["out.total"]
    report.add("out.total", losses.total.item() / total, np.ones_like(total))


def _compare_gradients(case: GoldenCase, model: GroundedSegmenter, table: Sequence[Rule], report: StageReport) -> None:
    norms_of = {name: _norm(parameter.grad) for name, parameter in model.named_parameters() if parameter.requires_grad}
    names = [our_name(published, table) for published in case.manifest["param_names"]]
    assert norms_of.keys() <= set(names)
    norms = torch.stack([norms_of.get(name or "", torch.zeros(())) for name in names])
    expected, total = case.arrays["out.grad_norms"], case.arrays["out.grad_total_norm"]
    floor = NO_GRADIENT * float(total[0])
    report.add("out.grad_norms", (norms.numpy() + floor) / (expected + floor), np.ones_like(expected), GRADIENT)
    report.add("out.grad_total_norm", norms.norm().numpy() / total, np.ones_like(total), GRADIENT)


def _norm(gradient: Tensor | None) -> Tensor:
    return torch.zeros(()) if gradient is None else gradient.norm()
