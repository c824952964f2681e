"""The compiled kernels on tensors: room for the results, pointers, threads or stream."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from msda_ops import library
from msda_ops.library import Problem

Gradients = tuple[Tensor, Tensor, Tensor]  # of value, locations and weights


def forward(problem: Problem, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The output [B, Q, M * D], from tensors of one device in the types that its kernel takes."""
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    output = value.new_empty(problem.output_shape)
    compiled = library.load()
    _call(compiled.cuda_forward if value.is_cuda else compiled.cpu_forward, problem, value, locations, weights, output)
    return output


def backward(problem: Problem, grad_output: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> Gradients:
    """The gradients for a gradient of the output; dense, in the types of what they are of."""
    inputs = [tensor.contiguous() for tensor in (grad_output, value, locations, weights)]
    sums = weights.dtype if value.is_cuda else value.dtype  # of the gradient of value
    gradients = empty_gradients(value, locations, weights, sums)
    compiled = library.load()
    _call(compiled.cuda_backward if value.is_cuda else compiled.cpu_backward, problem, *inputs, *gradients)
    grad_value, grad_locations, grad_weights = gradients
    return grad_value.to(value.dtype), grad_locations, grad_weights


def empty_gradients(value: Tensor, locations: Tensor, weights: Tensor, sums: torch.dtype | None = None) -> Gradients:
    """Room for gradients, that of value in the type `sums`; dense, whatever the strides of the tensors."""
    grad_value = value.new_empty(value.shape, dtype=sums or value.dtype)
    return grad_value, locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _call(kernel: Callable[..., None], problem: Problem, *tensors: Tensor) -> None:
    """Run a kernel on contiguous tensors of one device, the first of which has the type that it computes in."""
    pointers = [tensor.data_ptr() for tensor in tensors]
    dtype, device = str(tensors[0].dtype).removeprefix("torch."), tensors[0].device
    if device.type == "cuda":
        with _current(device):
            stream = torch.cuda.current_stream().cuda_stream
            kernel(problem, dtype, *pointers, device=device.index, stream=stream)
    else:
        kernel(problem, dtype, *pointers, threads=torch.get_num_threads())


def _current(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A kernel makes its device the current one: this brings back another one afterwards."""
    return contextlib.nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)
