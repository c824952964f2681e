"""`ms_deform_attn` and the operators `msda_ops::forward` and `msda_ops::backward` behind it.

The dispatcher picks the device: each operator has a CPU and a CUDA kernel, a shape function for tracing, and `forward`
its derivative. Importing this file touches no GPU.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from msda_ops import library
from msda_ops.backend import path_name
from msda_ops.errors import InputError, LibraryError
from msda_ops.reference import accumulation_dtype, ms_deform_attn_reference

# Shape letters: B batch, S tokens of all levels, Q queries, M heads, D channels per head, L levels, P points.


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Multi-scale deformable attention (Deformable DETR, section 4.1); `reference.py` is its definition.

    Runs on a kernel of the compiled library if there is one (`msda_ops.backend` says which), else on the torch twin.
    Differentiable once with respect to all three tensors. Autocast changes nothing: the dtype of `value` decides.
    Half-precision values are multiplied and summed in float32. Keep their locations in float32: a half-precision
    location is exact only to about size / 2048 pixels.

    Args:
        value: [B, S, M, D] floating; rows of all levels, level after level, S = sum of H * W.
        spatial_shapes: (H, W) of each level, Python integers.
        sampling_locations: [B, Q, M, L, P, 2] floating, (x, y) in units of the level's width and height.
        attention_weights: [B, Q, M, L, P] floating, used as given.

    Returns:
        [B, Q, M * D] in the dtype of `value`, head after head.

    Raises:
        InputError: shapes, dtypes or devices do not fit together.
    """
    _check_inputs(value, spatial_shapes, sampling_locations, attention_weights)
    path = path_name(value.device.type, value.device.index, value.dtype)
    if path == "twin":
        return ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)
    real = accumulation_dtype(value.dtype)
    output = torch.ops.msda_ops.forward(
        value.to(real) if path == "cpu" else value,
        [side for shape in spatial_shapes for side in shape],
        sampling_locations.to(real),
        attention_weights.to(real),
    )
    return output.to(value.dtype)


def _check_inputs(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    if isinstance(spatial_shapes, Tensor):
        raise InputError("spatial_shapes must be (H, W) pairs of Python integers, got a tensor; use its .tolist()")
    tensors = {
        "value": value,
        "sampling_locations": sampling_locations,
        "attention_weights": attention_weights,
    }
    layouts = {
        "value": "[B, S, M, D]",
        "sampling_locations": "[B, Q, M, L, P, 2]",
        "attention_weights": "[B, Q, M, L, P]",
    }
    for name, tensor in tensors.items():
        if tensor.ndim != layouts[name].count(",") + 1:
            raise InputError(f"{name} must be {layouts[name]}, got shape {list(tensor.shape)}")
        if not tensor.is_floating_point():
            raise InputError(f"{name} must be a floating point tensor, got {tensor.dtype}")
        if tensor.device != value.device:
            raise InputError(
                f"all tensors must be on one device, but value is on {value.device} and {name} on {tensor.device}"
            )

    batch, tokens, heads, _ = value.shape
    if any(len(shape) != 2 or shape[0] < 1 or shape[1] < 1 for shape in spatial_shapes):
        raise InputError(f"spatial_shapes must be pairs (H, W) of at least 1, got {list(spatial_shapes)}")
    if sum(height * width for height, width in spatial_shapes) != tokens:
        terms = " + ".join(f"{height} * {width}" for height, width in spatial_shapes) or "0"
        total = sum(height * width for height, width in spatial_shapes)
        raise InputError(
            f"value must have one token per cell of all levels: {terms} = {total}, got S = {tokens} "
            f"in value {list(value.shape)}"
        )
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    levels = len(spatial_shapes)
    for name, expected in (
        ("sampling_locations", (batch, queries, heads, levels, points, 2)),
        ("attention_weights", (batch, queries, heads, levels, points)),
    ):
        if tensors[name].shape != expected:
            raise InputError(
                f"{name} must be {layouts[name]} = {list(expected)}, got {list(tensors[name].shape)}: B = {batch} and "
                f"M = {heads} come from value {list(value.shape)}, L = {levels} from spatial_shapes, "
                f"Q = {queries} and P = {points} from sampling_locations"
            )


_operators = torch.library.Library("msda_ops", "DEF")
_operators.define(
    "forward(Tensor value, SymInt[] spatial_shapes, Tensor locations, Tensor weights) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_operators.define(
    "backward(Tensor grad_output, Tensor value, SymInt[] spatial_shapes, Tensor locations, Tensor weights)"
    " -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _problem(value: Tensor, spatial_shapes: Sequence[int], weights: Tensor) -> library.Problem:
    batch, _, heads, channels = value.shape
    return library.Problem(
        batch=batch,
        queries=weights.shape[1],
        heads=heads,
        channels=channels,
        points=weights.shape[4],
        spatial_shapes=spatial_shapes,
    )


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _output_shape(value: Tensor, weights: Tensor) -> tuple[int, int, int]:
    return value.shape[0], weights.shape[1], value.shape[2] * value.shape[3]


@torch.library.impl(_operators, "forward", "CPU")
def _forward_cpu(value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    output = value.new_empty(_output_shape(value, weights))
    library.load().cpu_forward(
        _problem(value, spatial_shapes, weights),
        _dtype_name(value),
        *_pointers(value, locations, weights, output),
        threads=torch.get_num_threads(),
    )
    return output


@torch.library.impl(_operators, "forward", "CUDA")
def _forward_cuda(value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    output = value.new_empty(_output_shape(value, weights))
    with torch.cuda.device_of(value):
        library.load().cuda_forward(
            _problem(value, spatial_shapes, weights),
            _dtype_name(value),
            *_pointers(value, locations, weights, output),
            device=value.get_device(),
            stream=torch.cuda.current_stream().cuda_stream,
        )
    return output


@torch.library.register_fake("msda_ops::forward")
def _forward_fake(value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(_output_shape(value, weights))


@torch.library.impl(_operators, "backward", "CPU")
def _backward_cpu(
    grad_output: Tensor, value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = [tensor.contiguous() for tensor in (grad_output, value, locations, weights)]
    gradients = _empty_gradients(value, locations, weights)
    library.load().cpu_backward(
        _problem(value, spatial_shapes, weights),
        _dtype_name(value),
        *_pointers(*inputs, *gradients),
        threads=torch.get_num_threads(),
    )
    return gradients


@torch.library.impl(_operators, "backward", "CUDA")
def _backward_cuda(
    grad_output: Tensor, value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    _alert_not_deterministic()
    inputs = [tensor.contiguous() for tensor in (grad_output, value, locations, weights)]
    gradients = _empty_gradients(value, locations, weights, dtype=weights.dtype)
    with torch.cuda.device_of(value):
        library.load().cuda_backward(
            _problem(value, spatial_shapes, weights),
            _dtype_name(value),
            *_pointers(*inputs, *gradients),
            device=value.get_device(),
            stream=torch.cuda.current_stream().cuda_stream,
        )
    grad_value, grad_locations, grad_weights = gradients
    return grad_value.to(value.dtype), grad_locations, grad_weights


@torch.library.register_fake("msda_ops::backward")
def _backward_fake(
    grad_output: Tensor, value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_gradients(value, locations, weights)


def _empty_gradients(
    value: Tensor, locations: Tensor, weights: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    grad_value = value.new_empty(value.shape, dtype=dtype or value.dtype)  # dense, whatever the strides of value
    return grad_value, locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _alert_not_deterministic() -> None:
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = "the CUDA kernel of ms_deform_attn's backward pass has no deterministic order of summation"
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise LibraryError(f"{message}; torch.use_deterministic_algorithms(True, warn_only=True) lets it run")
    warnings.warn(message, stacklevel=2)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, spatial_shapes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)
    ctx.spatial_shapes = spatial_shapes


def _differentiate(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
    value, locations, weights = ctx.saved_tensors
    grad_value, grad_locations, grad_weights = torch.ops.msda_ops.backward(
        grad_output, value, ctx.spatial_shapes, locations, weights
    )
    return grad_value, None, grad_locations, grad_weights


torch.library.register_autograd("msda_ops::forward", _differentiate, setup_context=_keep_inputs)


def _refuse_second_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise LibraryError(
        "ms_deform_attn is differentiable once; msda_ops.reference.ms_deform_attn_reference goes further where "
        "torch's grid_sample does"
    )


torch.library.register_autograd("msda_ops::backward", _refuse_second_derivative)
