"""What loading trained weights must not do: draw random numbers first, or import what is not used."""

import subprocess
import sys
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SLOW = ("torchvision", "torch._dynamo", "transformers")  # each takes a second or more


class RandomNumbers(TorchDispatchMode):
    """While entered, `drawn` counts the random numbers that are written to memory."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.drawn += sum(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor) and not t.is_meta)
        return result


def slow_imports(code: str) -> list[str]:
    """Which of the slow modules a new interpreter has imported after some code."""
    script = f"{code}\nimport sys\nprint(*(name for name in {SLOW} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
