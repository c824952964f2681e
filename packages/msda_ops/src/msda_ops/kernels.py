"""The compiled kernels on tensors: room for the results, pointers, threads or stream."""

import contextlib

import torch
from torch import Tensor

from msda_ops import library
from msda_ops.library import Problem

Gradients = tuple[Tensor, Tensor, Tensor]  # of value, locations and weights


def forward(problem: Problem, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The output [B, Q, M * D], from tensors of one device in the types that its kernel takes."""
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    output = value.new_empty(problem.output_shape)
    pointers = value.data_ptr(), locations.data_ptr(), weights.data_ptr(), output.data_ptr()
    if value.is_cuda:
        with _current(value.device):
            stream = torch.cuda.current_stream().cuda_stream
            library.load().cuda_forward(
                problem, _dtype_name(value), *pointers, device=value.get_device(), stream=stream
            )
    else:
        library.load().cpu_forward(problem, _dtype_name(value), *pointers, threads=torch.get_num_threads())
    return output


def backward(problem: Problem, grad_output: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> Gradients:
    """The gradients for a gradient of the output; dense, in the types of what they are of."""
    inputs = [tensor.contiguous() for tensor in (grad_output, value, locations, weights)]
    sums = weights.dtype if value.is_cuda else value.dtype  # of the gradient of value
    gradients = empty_gradients(value, locations, weights, sums)
    pointers = [tensor.data_ptr() for tensor in (*inputs, *gradients)]
    if value.is_cuda:
        with _current(value.device):
            stream = torch.cuda.current_stream().cuda_stream
            library.load().cuda_backward(
                problem, _dtype_name(value), *pointers, device=value.get_device(), stream=stream
            )
    else:
        library.load().cpu_backward(problem, _dtype_name(value), *pointers, threads=torch.get_num_threads())
    grad_value, grad_locations, grad_weights = gradients
    return grad_value.to(value.dtype), grad_locations, grad_weights


def empty_gradients(value: Tensor, locations: Tensor, weights: Tensor, sums: torch.dtype | None = None) -> Gradients:
    """Room for gradients, that of value in the type `sums`; dense, whatever the strides of the tensors."""
    grad_value = value.new_empty(value.shape, dtype=sums or value.dtype)
    return grad_value, locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _current(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A kernel makes its device the current one: this brings back another one afterwards."""
    return contextlib.nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
