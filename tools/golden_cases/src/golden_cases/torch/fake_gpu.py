"""A GPU that computes nothing: tensors have shapes, types and a device, but no numbers.

Whatever would make a real GPU wait fails here: an operation whose result's shape, or a branch, depends on numbers; one
that mixes tensors of GPU and processor; one that copies numbers from one to the other, as `torch.tensor(..., device=)`
and an index made on the processor do.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from program_kit.torch import memory
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda:7")  # one that few machines have: what a cache keeps for it is fake
GROUP_BYTES = 2**31
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
T = TypeVar("T")


def on_fake_gpu(network: nn.Module, work: Callable[[torch.device], T]) -> T:
    """What `work` returns on the fake GPU, which must never wait for it.

    Args:
        network: goes to the fake GPU for good.
        work: makes its inputs there. It is done twice: the first time may bring to the GPU what is kept there.

    Raises:
        Exception: torch's own, or a RuntimeError, at the operation that a GPU would wait for.
    """
    with patch.object(memory, "group_bytes", lambda device: GROUP_BYTES), _mode(), torch.inference_mode():
        for module in network.modules():
            tensors: dict[str, Any]
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)
                        tensors[name] = nn.Parameter(fake, False) if tensors is module._parameters else fake
        work(GPU)
        with _NoCopies():
            return work(GPU)


class _NoCopies(TorchDispatchMode):
    """Refuses what brings numbers from the processor to the GPU or back; a lone number may be an argument."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim or func in COPIES}
        if len(devices) > 1:
            raise RuntimeError(f"{func}: numbers travel between processor and GPU, which waits for them")
        return result


@cache
def _mode() -> FakeTensorMode:
    return FakeTensorMode()  # fake tensors of several modes do not mix


def on_gpu(record: T) -> T:
    """A dataclass whose tensors are replaced by fake ones on the fake GPU; for use in `work`."""
    found: dict[str, Any] = {name: getattr(record, name) for name in record.__dataclass_fields__}  # pyright: ignore[reportAttributeAccessIssue]
    return type(record)(
        **{
            name: torch.empty(value.shape, dtype=value.dtype, device=GPU) if isinstance(value, Tensor) else value
            for name, value in found.items()
        }
    )
