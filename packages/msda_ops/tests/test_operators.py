"""`ms_deform_attn` as a citizen of torch: operator checks, compilation, autocast, modules."""

import subprocess
import sys

import pytest
import torch
from golden_cases import assert_close
from msda_ops import MSDeformAttn, ms_deform_attn
from msda_ops.backend import path_name
from msda_ops.reference import ms_deform_attn_reference
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SHAPES = [(4, 5), (2, 3)]


def _inputs(dtype: torch.dtype = torch.float32, queries: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    value = torch.randn(2, 26, 2, 8, generator=generator, dtype=dtype)
    locations = torch.rand(2, queries, 2, 2, 3, 2, generator=generator, dtype=dtype)
    weights = torch.rand(2, queries, 2, 2, 3, generator=generator, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (value, locations, weights)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_opcheck(device: str, kernel_on):
    kernel_on(device)
    value, locations, weights = (tensor.detach().to(device).requires_grad_() for tensor in _inputs())
    shapes = [side for shape in SHAPES for side in shape]
    torch.library.opcheck(torch.ops.msda_ops.forward.default, (value, shapes, locations, weights))
    gradient = torch.randn(2, 3, 16, device=device)
    plain = [tensor.detach() for tensor in (value, locations, weights)]
    torch.library.opcheck(torch.ops.msda_ops.backward.default, (gradient, plain[0], shapes, plain[1], plain[2]))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiles_into_one_graph(dynamic: bool, cpu_kernel):
    """Forward and backward of the compiled function, for two sizes."""

    @torch.compile(fullgraph=True, dynamic=dynamic, backend="aot_eager")
    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return ms_deform_attn(value * 2, SHAPES, locations, weights).sin()

    for queries in (3, 5):
        inputs = _inputs(queries=queries)
        expected = ms_deform_attn_reference(inputs[0] * 2, SHAPES, inputs[1], inputs[2]).sin()
        output = attend(*inputs)
        assert_close(output, expected)
        ours = torch.autograd.grad(output.sum(), inputs)
        theirs = torch.autograd.grad(expected.sum(), inputs)
        for gradient, reference in zip(ours, theirs, strict=True):
            assert_close(gradient, reference, layers=2)


def test_module_compiles_into_one_graph(cpu_kernel):
    module = MSDeformAttn(d_model=16, n_levels=2, n_heads=2, n_points=3)
    query, source = torch.randn(2, 4, 16), torch.randn(2, 26, 16)
    reference_points = torch.rand(2, 4, 2, 2)
    padding = torch.zeros(2, 26, dtype=torch.bool)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected = module(query, reference_points, source, SHAPES, input_padding_mask=padding)
        assert_close(compiled(query, reference_points, source, SHAPES, input_padding_mask=padding), expected, layers=3)


def test_autocast_leaves_the_dtypes_alone(cpu_kernel):
    value, locations, weights = (tensor.detach() for tensor in _inputs())
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ms_deform_attn(value, SHAPES, locations, weights), expected)
        half = ms_deform_attn(value.bfloat16(), SHAPES, locations, weights)
    assert half.dtype == torch.bfloat16
    rounded = 2 * torch.finfo(torch.bfloat16).eps  # the values, and what is made of them
    torch.testing.assert_close(half.float(), expected, rtol=0, atol=float(rounded * expected.abs().max()))


def test_module_under_autocast_keeps_locations_precise(cpu_kernel):
    module = MSDeformAttn(d_model=16, n_levels=2, n_heads=2, n_points=3)
    query, source = torch.randn(2, 4, 16), torch.randn(2, 26, 16)
    reference_points = torch.rand(2, 4, 2, 2)
    expected = module(query, reference_points, source, SHAPES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module.sampling_locations(query, reference_points, SHAPES).dtype == torch.float32
        output = module(query, reference_points, source, SHAPES)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert module.sampling_offsets.weight.grad is not None
    expected = expected.detach()
    rounded = 4 * torch.finfo(torch.bfloat16).eps  # source, projected values, samples, output
    torch.testing.assert_close(output.detach().float(), expected, rtol=0, atol=float(rounded * expected.abs().max()))


class Operators(TorchDispatchMode):
    """Collects the names of what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_modes_see_the_operator_and_get_the_same(cpu_kernel):
    inputs = _inputs()
    output = ms_deform_attn(inputs[0], SHAPES, *inputs[1:])
    gradients = torch.autograd.grad(output.sum(), inputs)
    with Operators() as seen:
        watched = ms_deform_attn(inputs[0], SHAPES, *inputs[1:])
        watched_gradients = torch.autograd.grad(watched.sum(), inputs)
    assert {"msda_ops.forward.default", "msda_ops.backward.default"} <= set(seen.names)
    assert torch.equal(output, watched)
    assert all(torch.equal(one, other) for one, other in zip(gradients, watched_gradients, strict=True))
    assert "_DirectAttention" in type(output.grad_fn).__name__


def test_mixed_dtypes_are_brought_together():
    value, locations, weights = _inputs()
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    output = ms_deform_attn(value, SHAPES, locations.double(), weights.double())
    assert output.dtype == torch.float32
    assert torch.equal(output, expected)


def test_padded_tokens_count_as_zero():
    """Padding is cleared after the projection: whatever the source holds there, and the bias, must not show."""
    module = MSDeformAttn(d_model=16, n_levels=2, n_heads=2, n_points=3)
    torch.nn.init.ones_(module.value_proj.bias)
    query, source = torch.randn(1, 4, 16), torch.randn(1, 26, 16)
    reference_points = torch.rand(1, 4, 2, 4)
    padding = torch.ones(1, 26, dtype=torch.bool)
    with torch.no_grad():
        output = module(query, reference_points, source, SHAPES, input_padding_mask=padding)
    torch.testing.assert_close(output, module.output_proj.bias.expand_as(output).detach())


def test_other_devices_take_the_twin():
    value, locations, weights = (tensor.detach().to("meta") for tensor in _inputs())
    assert path_name("meta", None, torch.float32) == "twin"
    assert ms_deform_attn(value, SHAPES, locations, weights).shape == (2, 3, 16)


def test_deterministic_algorithms_on_the_cpu(cpu_kernel):
    torch.use_deterministic_algorithms(True)
    try:
        inputs = _inputs()
        torch.autograd.grad(ms_deform_attn(inputs[0], SHAPES, *inputs[1:]).sum(), inputs)
    finally:
        torch.use_deterministic_algorithms(False)


def test_import_touches_neither_gpu_nor_compiler():
    script = "import sys, torch, msda_ops; sys.exit(torch.cuda.is_initialized() or 'torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_gpu_uses_the_current_stream(kernel_on):
    kernel_on("cuda")
    value, locations, weights = (tensor.detach().cuda() for tensor in _inputs())
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = value.clone()  # ready only after the sleep: a kernel on another stream would read before
        output = ms_deform_attn(late, SHAPES, locations, weights)
    stream.synchronize()
    assert torch.equal(output, expected)


def test_gpu_backward_refuses_determinism(kernel_on):
    kernel_on("cuda")
    inputs = [tensor.detach().cuda().requires_grad_() for tensor in _inputs()]
    output = ms_deform_attn(inputs[0], SHAPES, *inputs[1:])
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="deterministic"):
            torch.autograd.grad(output.sum(), inputs)
    finally:
        torch.use_deterministic_algorithms(False)
