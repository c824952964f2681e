"""`ms_deform_attn` and the operators `msda_ops::forward` and `msda_ops::backward` behind it.

The dispatcher picks the device: each operator has a CPU and a CUDA kernel, a shape function for tracing, and `forward`
its derivative. Importing this file touches no GPU.
"""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from msda_ops import kernels, library
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
    tensors = value, sampling_locations, attention_weights
    if isinstance(spatial_shapes, Tensor):
        raise InputError("spatial_shapes must be (H, W) pairs of Python integers, got a tensor; use its .tolist()")
    if torch.compiler.is_compiling() or _is_watched(tensors):
        _check_inputs(value, spatial_shapes, sampling_locations, attention_weights)
        problem = None
    else:
        problem = _checked_problem(tuple(map(tuple, spatial_shapes)), *map(_Described.of, tensors))
    path = path_name(value.device.type, value.device.index, value.dtype)
    if path == "twin":
        return ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)
    real = accumulation_dtype(value.dtype)
    kernel_value = value.to(real) if path == "cpu" else value
    locations, weights = sampling_locations.to(real), attention_weights.to(real)
    if problem is None:
        sides = [side for shape in spatial_shapes for side in shape]
        output = torch.ops.msda_ops.forward(kernel_value, sides, locations, weights)
    elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        output = _DirectAttention.apply(problem, kernel_value, locations, weights)
    else:
        output = kernels.forward(problem, kernel_value, locations, weights)
    return output.to(value.dtype)


def _is_watched(tensors: Sequence[Tensor]) -> bool:
    """Whether something beside autograd wants to see every call: a mode, a transform, a tracer, a profiler.

    Where nothing does, calls go to the kernels directly, which takes a fraction of the dispatcher's time.
    """
    return (
        is_in_torch_dispatch_mode()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch.autograd.profiler._is_profiler_enabled
        or any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors)
    )


class _Described(NamedTuple):
    """What checks need of a tensor."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> "_Described":
        return cls(tensor.shape, tensor.dtype, tensor.device)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point


@lru_cache(maxsize=256)
def _checked_problem(
    spatial_shapes: tuple[tuple[int, int], ...], value: _Described, locations: _Described, weights: _Described
) -> library.Problem:
    _check_inputs(value, spatial_shapes, locations, weights)
    return _problem(value, [side for shape in spatial_shapes for side in shape], weights)


def _check_inputs(
    value: Tensor | _Described,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor | _Described,
    attention_weights: Tensor | _Described,
) -> None:
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


def _problem(
    value: Tensor | _Described, spatial_shapes: Sequence[int], weights: Tensor | _Described
) -> library.Problem:
    batch, _, heads, channels = value.shape
    return library.Problem(
        batch=batch,
        queries=weights.shape[1],
        heads=heads,
        channels=channels,
        points=weights.shape[4],
        spatial_shapes=spatial_shapes,
    )


def _forward(value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return kernels.forward(_problem(value, spatial_shapes, weights), value, locations, weights)


@torch.library.register_fake("msda_ops::forward")
def _forward_fake(value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty((value.shape[0], weights.shape[1], value.shape[2] * value.shape[3]))


def _backward(
    grad_output: Tensor, value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> kernels.Gradients:
    if value.is_cuda:
        _alert_not_deterministic()
    return kernels.backward(_problem(value, spatial_shapes, weights), grad_output, value, locations, weights)


@torch.library.register_fake("msda_ops::backward")
def _backward_fake(
    grad_output: Tensor, value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> kernels.Gradients:
    return kernels.empty_gradients(value, locations, weights)


for _device in ("CPU", "CUDA"):
    _operators.impl("forward", _forward, _device)
    _operators.impl("backward", _backward, _device)


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


class _DirectAttention(torch.autograd.Function):
    """The operator and its derivative without the dispatcher."""

    @staticmethod
    def forward(ctx: Any, problem: library.Problem, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        ctx.problem = problem
        return kernels.forward(problem, value, locations, weights)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tensors = ctx.saved_tensors
        if torch.is_grad_enabled() or _is_watched((grad_output, *tensors)):  # the operator refuses second derivatives
            value, locations, weights = tensors
            shapes = ctx.problem.spatial_shapes
            return None, *torch.ops.msda_ops.backward(grad_output, value, shapes, locations, weights)
        if grad_output.is_cuda:
            _alert_not_deterministic()
        return None, *kernels.backward(ctx.problem, grad_output, *tensors)
