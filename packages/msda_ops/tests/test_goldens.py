"""Values and gradients of the published code, on every path that runs here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import GoldenCase, StageReport, find_cases, rounding
from msda_ops import MSDeformAttn
from msda_ops import module as attention_module

CASES = find_cases("msda_ops", local=Path(__file__).parent / "goldens")
KINDS = {"functional", "module"}


def _named(kind: str) -> list:
    return [
        pytest.param(case, name, id=f"{case}-{name}")
        for case in CASES
        if case.kind == kind
        for name in case.manifest["config"]
    ]


def test_every_kind_is_known():
    assert {case.kind for case in CASES} == KINDS


def _tolerance(expected: np.ndarray, dtype: torch.dtype) -> float:
    """Rounding of the computation and of the stored numbers. What is summed up is about 1 in size, whatever the sum."""
    terms = np.append(expected, 1)
    return rounding(terms, epsilon=torch.finfo(dtype).eps) + float(np.abs(terms).max() * np.finfo(expected.dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(("case", "name"), _named("functional"))
def test_functional(case: GoldenCase, name: str, dtype: torch.dtype, attention, gradients_of):
    config, arrays = case.manifest["config"][name], case.arrays
    tensors = {
        key: torch.from_numpy(arrays[f"in.{name}.{key}"]).to(dtype) for key in ("value", "loc", "attn", "grad_out")
    }
    shapes = [(height, width) for height, width in config["shapes"]]
    ours = gradients_of(attention, tensors["value"], shapes, tensors["loc"], tensors["attn"], tensors["grad_out"])

    report = StageReport(f"{case}/{name}")
    for stage, actual in ours.items():
        expected = arrays[f"out.{name}.f64.{stage}"]
        if stage == "grad_loc":
            # The compiled kernel's rule where it differs from grid_sample's: no gradient at pixel -1.
            expected = arrays.get(f"out.{name}.f64.grad_loc_direct", expected)
            kink = arrays.get(f"mid.{name}.kink")
            if kink is not None and config["locations"] != "lattice":
                smooth = ~kink
                report.add(stage, actual.numpy()[smooth], expected[smooth], _tolerance(expected, dtype))
                continue
        report.add(stage, actual.numpy(), expected, _tolerance(expected, dtype))
    report.check()


@pytest.mark.parametrize(("case", "name"), _named("module"))
def test_module(case: GoldenCase, name: str, attention, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention_module, "ms_deform_attn", attention)
    config, arrays = case.manifest["config"][name], case.arrays
    module = MSDeformAttn(config["d_model"], config["n_levels"], config["n_heads"], config["n_points"])
    report = StageReport(f"{case}/{name}", layers=2)  # a projection and the sampling, or two projections
    report.add(
        "initial offsets",
        module.sampling_offsets.bias.detach().numpy(),
        arrays[f"out.{name}.initial_sampling_offsets_bias"],
    )

    module.load_state_dict({key: torch.from_numpy(array) for key, array in case.weights(name).items()})
    query, reference_points, source = (
        torch.from_numpy(arrays[f"in.{name}.{key}"]) for key in ("query", "reference_points", "src")
    )
    padding = torch.from_numpy(arrays[f"in.{name}.padding_mask"]) if config["pad"] else None
    shapes = [(height, width) for height, width in config["shapes"]]
    with torch.no_grad():
        report.add(
            "sampling locations",
            module.sampling_locations(query, reference_points, shapes).numpy(),
            arrays[f"mid.{name}.sampling_locations"],
        )
        report.add("attention weights", module.point_weights(query).numpy(), arrays[f"mid.{name}.attention_weights"])
        extents = torch.tensor(shapes)
        starts = torch.cat((extents.new_zeros(1), extents.prod(1).cumsum(0)[:-1]))
        output = module(query, reference_points, source, extents, starts, padding)  # as ported code calls it
        report.add("out", output.numpy(), arrays[f"out.{name}.out"])
    report.check()
