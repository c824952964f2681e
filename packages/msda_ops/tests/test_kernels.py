"""Kernels against the twin on random problems, and the properties that the twin cannot show."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import assert_close, rounding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msda_ops import LibraryError, library, ms_deform_attn
from msda_ops.reference import ms_deform_attn_reference
from torch import Tensor

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def problems(draw: st.DrawFn) -> dict:
    """Sizes of all kinds: odd channels, single cells, no queries, points far outside."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=4))
    return {
        "batch": draw(st.integers(0, 3)),
        "heads": draw(st.integers(1, 4)),
        "channels": draw(st.sampled_from([1, 2, 3, 7, 8, 16, 17, 32, 40, 64, 100])),
        "queries": draw(st.integers(0, 12)),
        "points": draw(st.integers(1, 5)),
        "shapes": shapes,
        "spread": draw(st.sampled_from([0.5, 1.5, 30.0])),
        "seed": draw(st.integers(0, 2**31)),
    }


def random_inputs(
    *,
    batch: int,
    heads: int,
    channels: int,
    queries: int,
    points: int,
    shapes: list[tuple[int, int]],
    spread: float = 1.5,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor, Tensor]:
    """value, shapes, locations, weights and grad_output; locations are kept away from the bilinear kinks."""
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(height * width for height, width in shapes)
    value = torch.randn(batch, tokens, heads, channels, generator=generator, dtype=dtype)
    grid = (batch, queries, heads, len(shapes), points)
    locations = 0.5 + spread * (torch.rand(*grid, 2, generator=generator, dtype=torch.float64) - 0.5)
    size = torch.tensor([[width, height] for height, width in shapes], dtype=torch.float64)[:, None]
    pixel = locations * size - 0.5
    fraction = (pixel - pixel.floor()).clamp(0.01, 0.99)
    locations = ((pixel.floor() + fraction + 0.5) / size).to(dtype)
    weights = torch.randn(grid, generator=generator, dtype=dtype)
    grad_output = torch.randn(batch, queries, heads * channels, generator=generator, dtype=dtype)
    return value, shapes, locations, weights, grad_output


def assert_same(ours: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Equal but for rounding in `dtype`. What is summed up is about 1 in size, whatever the sum."""
    for name, reference in expected.items():
        tolerance = rounding(np.append(reference, 1), epsilon=torch.finfo(dtype).eps)
        torch.testing.assert_close(ours[name].to(reference), reference, rtol=0, atol=tolerance, msg=name)


@PROPERTY
@given(problem=problems())
def test_random_problems_in_float64(problem: dict, kernel, gradients_of):
    inputs = random_inputs(**problem)
    assert_same(gradients_of(kernel, *inputs), gradients_of(ms_deform_attn_reference, *inputs), torch.float64)


@PROPERTY
@given(problem=problems())
def test_random_problems_in_float32(problem: dict, kernel, gradients_of):
    value, shapes, *rest = random_inputs(**problem, dtype=torch.float32)
    exact = gradients_of(ms_deform_attn_reference, value.double(), shapes, *(tensor.double() for tensor in rest))
    assert_same(gradients_of(kernel, value, shapes, *rest), exact, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype, attention, gradients_of):
    value, shapes, locations, weights, grad_output = random_inputs(
        batch=2, heads=2, channels=16, queries=5, points=4, shapes=[(6, 5), (3, 3)], dtype=torch.float32
    )
    value, grad_output = value.to(dtype), grad_output.to(dtype)
    exact = gradients_of(
        ms_deform_attn_reference, value.double(), shapes, locations.double(), weights.double(), grad_output.double()
    )
    ours = gradients_of(attention, value, shapes, locations, weights, grad_output)
    assert ours["out"].dtype == ours["grad_value"].dtype == dtype
    assert ours["grad_loc"].dtype == ours["grad_attn"].dtype == torch.float32
    for name, reference in exact.items():
        summed = rounding(reference)
        stored = float(torch.finfo(ours[name].dtype).eps * reference.abs().max())
        torch.testing.assert_close(ours[name].double(), reference, rtol=0, atol=summed + stored, msg=name)


def test_finite_differences(attention):
    value, shapes, locations, weights, _ = random_inputs(
        batch=1, heads=2, channels=3, queries=3, points=2, shapes=[(4, 3), (2, 2)]
    )
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, x, w: attention(v, shapes, x, w), inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("queries", [3, 400])  # rows read where they lie, and copied side by side
def test_threads_do_not_change_a_bit(dtype: torch.dtype, queries: int, cpu_kernel, gradients_of):
    inputs = random_inputs(
        batch=2, heads=3, channels=32, queries=queries, points=4, shapes=[(20, 30), (10, 15)], dtype=dtype
    )
    results = []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        results.append(gradients_of(cpu_kernel, *inputs))
    for other in results[1:]:
        assert all(torch.equal(other[name], tensor) for name, tensor in results[0].items())


def test_strided_inputs(kernel, gradients_of):
    value, shapes, locations, weights, grad_output = random_inputs(
        batch=2, heads=2, channels=16, queries=5, points=2, shapes=[(6, 5), (3, 3)]
    )
    dense = gradients_of(kernel, value, shapes, locations, weights, grad_output)
    strided = {
        "value": value.transpose(1, 2).contiguous().transpose(1, 2),
        "locations": locations.movedim(1, -1).contiguous().movedim(-1, 1),
        "weights": torch.stack((weights, weights), -1)[..., 0],
        "grad_output": grad_output[:, :1].expand(-1, 5, -1),
    }
    assert not any(tensor.is_contiguous() for tensor in strided.values())
    inputs = [strided[name].detach().requires_grad_() for name in ("value", "locations", "weights")]
    output = kernel(inputs[0], shapes, inputs[1], inputs[2])
    assert torch.equal(output, dense["out"])
    ours = torch.autograd.grad(output, inputs, strided["grad_output"])
    expected = gradients_of(kernel, value, shapes, locations, weights, strided["grad_output"].contiguous())
    for gradient, name in zip(ours, ("grad_value", "grad_loc", "grad_attn"), strict=True):
        assert_close(gradient, expected[name], epsilon=torch.finfo(torch.float64).eps)


@pytest.mark.parametrize(("batch", "queries"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_attend(batch: int, queries: int, attention, gradients_of):
    inputs = random_inputs(batch=batch, heads=2, channels=8, queries=queries, points=2, shapes=[(3, 4), (1, 2)])
    results = gradients_of(attention, *inputs)
    assert results["out"].shape == (batch, queries, 16)
    assert results["grad_value"].shape == inputs[0].shape
    assert not results["grad_value"].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30, -1e30, 3e38], ids=str)
def test_wild_locations_count_for_nothing(bad: float, attention, gradients_of):
    value, shapes, locations, weights, grad_output = random_inputs(
        batch=1, heads=2, channels=32, queries=3, points=3, shapes=[(4, 3), (2, 5)], dtype=torch.float32
    )
    locations[0, 1, 0, 1, 2, 0] = bad
    locations[0, 2, 1, 0, 1, 1] = bad
    without = weights.clone()
    without[0, 1, 0, 1, 2] = without[0, 2, 1, 0, 1] = 0
    ours = gradients_of(attention, value, shapes, locations, weights, grad_output)
    calm = torch.nan_to_num(locations, nan=0.5, posinf=0.5, neginf=0.5).clamp(-9, 9)
    expected = gradients_of(ms_deform_attn_reference, value, shapes, calm, without, grad_output)
    assert_close(ours["out"], expected["out"])
    assert_close(ours["grad_value"], expected["grad_value"])
    for point in ((0, 1, 0, 1, 2), (0, 2, 1, 0, 1)):
        assert not ours["grad_loc"][point].any()
        assert ours["grad_attn"][point] == 0


def test_values_outside_the_sampled_cells_are_not_touched(attention):
    """A NaN elsewhere in the map must not reach the output, not even with weight zero."""
    value = torch.full((1, 9, 1, 32), torch.nan)
    value[0, [0, 1, 3, 4]] = 1.0
    locations = torch.tensor([[0.1, 0.1], [0.3, 0.3], [-5.0, 0.2]]).reshape(1, 1, 1, 1, 3, 2)
    output = attention(value, [(3, 3)], locations, torch.ones(1, 1, 1, 1, 3))
    assert output.isfinite().all()


@pytest.mark.parametrize("instructions", ["baseline", "avx2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_other_instruction_sets(
    instructions: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu_kernel, gradients_of
):
    """Machines that lack this one's best instructions run other copies of the kernels."""
    copy = shutil.copy(library.load().path, tmp_path)  # a second library, which has yet to choose
    monkeypatch.setenv("MSDA_CPU_INSTRUCTIONS", instructions)
    other = library.Library(Path(copy))
    if other.cpu_instructions != instructions:
        pytest.skip(f"this machine runs {other.cpu_instructions} kernels at best")
    for sizes in ({"queries": 2, "channels": 32}, {"queries": 60, "channels": 32}, {"queries": 9, "channels": 71}):
        inputs = random_inputs(batch=2, heads=2, points=3, shapes=[(9, 8), (4, 4)], dtype=dtype, **sizes)
        expected = gradients_of(cpu_kernel, *inputs)
        value, shapes, locations, weights, grad_output = inputs
        ours = {name: torch.full_like(tensor, torch.nan) for name, tensor in expected.items()}
        problem = library.Problem(
            batch=2, heads=2, points=3, spatial_shapes=[side for shape in shapes for side in shape], **sizes
        )
        read = [tensor.data_ptr() for tensor in (value, locations, weights)]
        written = [tensor.data_ptr() for tensor in ours.values()]
        name = str(dtype).removeprefix("torch.")
        other.cpu_forward(problem, name, *read, written[0], threads=2)
        other.cpu_backward(problem, name, grad_output.data_ptr(), *read, *written[1:], threads=2)
        assert_same(ours, expected, dtype)


def test_second_derivative_is_refused(cpu_kernel):
    value, shapes, locations, weights, _ = random_inputs(
        batch=1, heads=1, channels=4, queries=1, points=1, shapes=[(2, 2)]
    )
    value.requires_grad_()
    weights.requires_grad_()
    output = ms_deform_attn(value, shapes, locations, weights)
    (gradient,) = torch.autograd.grad(output.sum(), value, create_graph=True)
    with pytest.raises(LibraryError, match="once"):
        torch.autograd.grad(gradient.sum(), weights)
