"""The implementations that this machine can run, each called the same way."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from msda_ops import backend, ms_deform_attn
from msda_ops.reference import ms_deform_attn_reference
from torch import Tensor

Shapes = Sequence[tuple[int, int]]
Attention = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]


def _on_cpu_kernel(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    assert backend("cpu", value.dtype).name == "cpu"
    return ms_deform_attn(value, shapes, locations, weights)


def _on_gpu(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    assert backend("cuda", value.dtype).name == "cuda"
    return ms_deform_attn(value.cuda(), shapes, locations.cuda(), weights.cuda()).cpu()


def _require(name: str) -> None:
    chosen = backend(name)
    if chosen.name != name:
        pytest.skip(f"no {name} kernel here: {chosen.reason}")


IMPLEMENTATIONS: dict[str, Attention] = {"twin": ms_deform_attn_reference, "cpu": _on_cpu_kernel, "cuda": _on_gpu}


@pytest.fixture(params=list(IMPLEMENTATIONS))
def attention(request: pytest.FixtureRequest) -> Attention:
    """Every implementation: the twin, the CPU kernel, the CUDA kernel; absent kernels skip."""
    if request.param != "twin":
        _require(request.param)
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(params=["cpu", "cuda"])
def kernel(request: pytest.FixtureRequest) -> Attention:
    """Every kernel of the compiled library; absent ones skip."""
    _require(request.param)
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(scope="session")
def kernel_on() -> Callable[[str], None]:
    """Call with `cpu` or `cuda` to skip where there is no kernel."""
    return _require


@pytest.fixture(scope="session")
def cpu_kernel() -> Attention:
    """The CPU kernel; skips without the library."""
    _require("cpu")
    return _on_cpu_kernel


@pytest.fixture(scope="session")
def gradients_of() -> Callable[..., dict[str, Tensor]]:
    """Output and the three gradients of an implementation, under the names that the golden cases use."""

    def run(
        attention: Attention, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, grad_output: Tensor
    ) -> dict[str, Tensor]:
        inputs = [tensor.detach().clone().requires_grad_() for tensor in (value, locations, weights)]
        output = attention(inputs[0], shapes, inputs[1], inputs[2])
        gradients = torch.autograd.grad(output, inputs, grad_output)
        names = ("out", "grad_value", "grad_loc", "grad_attn")
        return dict(zip(names, (output.detach(), *gradients), strict=True))

    return run


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
