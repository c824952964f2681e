"""A GPU that computes nothing: tensors have shapes, types and a device, but no numbers.

Whatever would make a real GPU wait fails here: an operation whose result's shape, or a branch, depends on numbers, and
an operation that mixes tensors of GPU and processor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from program_kit.torch import memory
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

GPU = torch.device("cuda:7")  # one that few machines have: what a cache keeps for it is fake
GROUP_BYTES = 2**31


@cache
def _mode() -> FakeTensorMode:
    return FakeTensorMode()  # fake tensors of several modes do not mix


@contextmanager
def fake_gpu(network: nn.Module) -> Iterator[torch.device]:
    """While entered, `network` is on the fake GPU for good, and new tensors are there unless told otherwise."""
    with (
        patch.object(memory, "group_bytes", lambda device: GROUP_BYTES),
        _mode(),
        torch.device(GPU),
        torch.inference_mode(),
    ):
        for module in network.modules():
            tensors: dict[str, Any]
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                        tensors[name] = nn.Parameter(fake, False) if tensors is module._parameters else fake
        yield GPU
