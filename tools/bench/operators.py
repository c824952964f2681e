"""How many operators a clip takes: on a GPU each is a launch, and those that need a number make the processor wait.

    uv run --package soc python tools/bench/operators.py soc [--frames 36] [--group-gib 8]

The published depths and frame size with narrow layers: their number, not their width, decides how many operators there
are. Counted are operators that compute or copy; views cost no launch. "Waits" are those whose result goes to the
processor as a number, or has a shape that depends on numbers. Sizes of groups are those of a processor, or those of a
GPU that has 16 times `--group-gib` free.
"""

import argparse
import importlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

PREDICTORS = {"soc": "SOCPredictor", "referformer": "ReferFormerPredictor", "mutr": "MUTRPredictor"}
WAITS = ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "is_nonzero", "equal")
SENTENCES = ["a dog", "the brown dog", "a dog that turns", "a dog with a ball"]


class Operators(TorchDispatchMode):
    """Counts operators by name while entered."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = func._schema.returns
        is_view = bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)
        if not is_view:
            self.counts[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


def narrow(config: Any) -> Any:
    """A published configuration with a 16th of the backbone's width and a small text encoder."""
    backbone = replace(config.backbone, hidden_size=config.backbone.hidden_size // 16, num_heads=(1, 2, 4, 8))
    text = replace(config.text, vocab_size=320, hidden_size=48, layers=2, num_heads=4, feedforward_dim=64)
    return replace(config, backbone=backbone, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=PREDICTORS)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--group-gib", type=float, help="size of a group's largest result; by default a processor's")
    options = parser.parse_args()
    if options.group_gib is not None:
        from program_kit.torch import memory

        memory.CPU_GROUP = int(options.group_gib * 2**30)
    predictor_class = getattr(importlib.import_module(f"{options.program}.predict"), PREDICTORS[options.program])
    factory = predictor_class.factory
    checkpoints = factory.checkpoints
    name = next(iter(factory.configs))
    config = narrow(factory.configs[name])
    network = checkpoints.with_config(name, config).random(name, 0).eval().requires_grad_(False)
    predictor = predictor_class(network, factory.tokenizer("bytes", config.text), factory.resize_rule(name))
    clip = list(np.random.default_rng(0).integers(0, 255, (options.frames, 360, 640, 3), dtype=np.uint8))
    with Operators() as seen:
        predictor.segment(clip, SENTENCES)
    waits = {name: count for name, count in seen.counts.items() if name in WAITS}
    print(f"{options.program}, {options.frames} frames of 360x640, {len(SENTENCES)} sentences")
    print(f"operators {seen.counts.total()}, waits {sum(waits.values())} ({waits})")
    for name, count in seen.counts.most_common(12):
        print(f"  {count:6d} {name}")


if __name__ == "__main__":
    main()
