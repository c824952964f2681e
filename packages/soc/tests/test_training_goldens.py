"""Parity of training with the published code: assignment, every loss, gradients, one step of the optimizer."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import GRADIENT, GoldenCase, StageReport, find_cases
from program_kit.torch.checkpoint.table import our_name
from rvos_layers.blocks.attention import Attention
from rvos_layers.encoders.video_swin import StochasticDepth
from rvos_layers.inference.config import ResizeRule
from rvos_training.data.clips import Clip, clip_windows
from rvos_training.data.transforms import FlipAndResize
from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.losses.criterion import Criterion, Losses
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import LossWeights
from soc.checkpoint import published_table
from soc.model import SOC
from soc.train.objective import criterion, layer_predictions
from soc_cases import config_of, model_of, runs_of
from torch import Tensor, nn

LOCAL = Path(__file__).parent / "goldens"
CASES = find_cases("soc", kinds={"train"}, local=LOCAL)
DATA_CASES = find_cases("soc", kinds={"train_data"}, local=LOCAL)
ADAM = 1e-3  # relative: its first step is almost the sign of the gradient, which rounding may turn where it is near 0
TERMS = {  # ours to the published names
    "label": "loss_label",
    "box": "loss_bbox",
    "giou": "loss_giou",
    "focal": "loss_sigmoid_focal",
    "dice": "loss_dice",
    "similarity": "loss_is_referred",
}


def without_dropout(model: nn.Module) -> nn.Module:
    """The model in training mode, but deterministic, as the goldens were made."""
    for module in model.train().modules():
        match module:
            case nn.Dropout() | StochasticDepth():
                module.p = 0.0
            case Attention():
                module.dropout = 0.0
    return model


def targets_of(case: GoldenCase) -> Targets:
    boxes, masks, visible = (
        torch.from_numpy(case.arrays[f"in.target_{name}"]).transpose(0, 1) for name in ("boxes", "masks", "visible")
    )
    return Targets(boxes=boxes, masks=masks, visible=visible)


def criterion_of(published: dict) -> Criterion:
    """Our criterion with a manifest's weights."""
    assert published["set_cost_is_referred"] == 0
    costs = LossWeights(
        label=published["set_cost_is_referred_assist"],
        box=published["set_costs_box"],
        giou=published["set_costs_giou"],
        focal=0,
        dice=published["set_cost_dice"],
    )
    losses = LossWeights(
        label=published["is_referred_loss_coef_assist"],
        box=published["box_loss_coef"],
        giou=published["giou_coef"],
        focal=published["sigmoid_focal_loss_coef"],
        dice=published["dice_loss_coef"],
    )
    ours = criterion(faithful=True)
    matcher = replace(ours.matcher, cost_weights=costs)
    similarity_weight = published["is_referred_loss_coef"]
    return replace(ours, matcher=matcher, loss_weights=losses, similarity_weight=similarity_weight)


class Training:
    """A case, ready to be run forward and backward."""

    def __init__(self, case: GoldenCase) -> None:
        self.case = case
        self.model: SOC = without_dropout(model_of(case))
        (self.inputs,) = runs_of(case)
        self.targets = targets_of(case)
        self.criterion = criterion_of(case.manifest["config"])

    def forward(self) -> tuple[list[Predictions], Losses]:
        video = self.model.encode_video(self.inputs.frames, self.inputs.padding_mask)
        predictions = layer_predictions(self.model, video, self.model.encode_text(self.inputs.tokens))
        return predictions, self.criterion(predictions, self.targets)


def relative(
    report: StageReport, name: str, actual: Tensor, expected: np.ndarray, tolerance: float | None = None
) -> None:
    report.add(name, actual.detach() / float(expected), np.ones_like(expected), tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_golden(case):
    training, expected, report = Training(case), case.arrays, StageReport(str(case))
    published = case.manifest["config"]
    optimisation = MultiStepOptimisation(
        lr=published["lr"],
        backbone_lr=published["lr_backbone"],
        text_encoder_lr=None if published["freeze_text_encoder"] else published["text_encoder_lr"],
        weight_decay=published["weight_decay"],
        max_grad_norm=published["clip_max_norm"],
        lr_milestones=(),
    )
    optimizer = optimisation.optimizer(training.model)
    predictions, losses = training.forward()
    losses.total.backward()

    layers = [*(f"aux{layer}" for layer in range(len(predictions) - 1)), "last"]
    for name, layer, queries in zip(layers, predictions, losses.queries, strict=True):
        report.add(
            f"{name}.pred_is_referred", layer.logits.detach().transpose(0, 1), expected[f"out.{name}.pred_is_referred"]
        )
        report.add(f"{name}.pred_boxes", layer.boxes.detach().transpose(0, 1), expected[f"out.{name}.pred_boxes"])
        first = layer.predict_masks(torch.zeros(len(queries), 1, dtype=torch.long)).detach()[:, :, 0]
        report.add(f"{name}.pred_masks_q0", first.transpose(0, 1), expected[f"out.{name}.pred_masks_q0"])
        report.add(f"match.{name}", queries, expected[f"out.match.{name}"][:, 0], 0)
    for term, value in losses.terms.items():
        name, _, layer = term.partition("_")
        name = "_".join((TERMS[name], layer)) if layer else TERMS[name]
        relative(report, name, value, expected[f"out.loss.{name}"])
    assert len(losses.terms) == len(case.names("out.loss."))
    relative(report, "total_loss", losses.total, expected["out.total_loss"])

    gradients = {name: parameter.grad for name, parameter in training.model.named_parameters()}
    table = published_table(config_of(published))
    for name in case.names("out.grad_norm."):
        ours = gradients[our_name(name.removeprefix("out.grad_norm."), table)]
        relative(report, name, ours.norm(), expected[name], GRADIENT)
    norm = torch.nn.utils.clip_grad_norm_(training.model.parameters(), optimisation.max_grad_norm)
    relative(report, "grad_norm_total", norm, expected["out.grad_norm_total"], GRADIENT)

    optimizer.step()
    with torch.no_grad():
        _, losses = training.forward()
    relative(report, "total_loss_after_one_step", losses.total, expected["out.total_loss_after_one_step"], ADAM)
    report.check()


@pytest.mark.parametrize("case", DATA_CASES, ids=str)
def test_windows_golden(case):
    length = case.manifest["config"]["window_size"]
    for frames, expected in json.loads(str(case.arrays["out.windows_json"])).items():
        windows = clip_windows(int(frames), length)
        seen = {"0": set(range(int(frames))), "1": {0, int(frames) - 1}}  # as the case's notes say
        clips = [[name, list(window)] for name, where in seen.items() for window in windows if where & set(window)]
        assert clips == expected, f"{frames} frames"


@pytest.mark.parametrize("case", DATA_CASES, ids=str)
def test_transform_golden(case):
    config, arrays, report = case.manifest["config"], case.arrays, StageReport(str(case), layers=1)
    transform = FlipAndResize(
        resize=ResizeRule(short=config["train_short_size"], longest=config["train_max_size"]), faithful=True
    )
    for name in sorted({name.split(".")[1] for name in arrays if name.startswith("in.")}):
        given = {field: arrays[f"in.{name}.{field}"] for field in ("frames_u8", "masks", "boxes_xyxy", "text", "flip")}
        clip = Clip.of(name, str(given["text"]), given["frames_u8"], given["masks"].astype(bool))
        report.add(f"{name} boxes of masks", clip.boxes, given["boxes_xyxy"], 0)
        sample = transform.apply(clip, flip=bool(given["flip"]))
        report.add(f"{name} frames", sample.frames, arrays[f"out.{name}.frames"], 0.018)  # one grey value
        report.add(f"{name} masks", sample.masks, arrays[f"out.{name}.masks"], 0)
        report.add(f"{name} boxes", sample.boxes, arrays[f"out.{name}.boxes"])
        assert sample.text == str(arrays[f"out.{name}.text"])
        sizes = {tuple(size) for size in arrays[f"out.{name}.size"].tolist()}
        assert sizes == {tuple(sample.masks.shape[1:])}
    report.check()


def test_default_weights_are_the_published_ones():
    for case in CASES:
        if case.name == "train":
            assert criterion_of(case.manifest["config"]) == criterion(faithful=True)


def test_cases_travel_with_the_package():
    assert CASES
    assert DATA_CASES
