"""Progress within a video, reported by the modules of a model as they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from program_kit.progress import ProgressCallback
from torch import nn

from rvos_layers.blocks.deformable import DeformableTransformer
from rvos_layers.encoders.resnet import Bottleneck
from rvos_layers.encoders.video_swin import SlabBlock

BACKBONE_UNITS = 2  # of work a frame; an expression takes about 1 a frame after the backbone


@contextmanager
def report_progress(model: nn.Module, frames: int, expressions: int, progress: ProgressCallback) -> Iterator[None]:
    """Report progress while `model` works on a video: after every backbone block and every chunk of pairs.

    Args:
        model: one with a `DeformableTransformer` that runs once for every pair of a frame and an expression.
        frames, expressions: of the video.
        progress: gets the units done, from 0 on, and all units; at the end both are equal.
    """
    blocks = [module for module in model.modules() if isinstance(module, SlabBlock | Bottleneck)]
    backbone, total = BACKBONE_UNITS * frames, (BACKBONE_UNITS + expressions) * frames
    done = {"blocks": 0, "pairs": 0}

    def report() -> None:
        share = 1.0 if done["pairs"] else done["blocks"] / max(1, len(blocks))
        progress(min(total, round(backbone * share) + done["pairs"]), total)

    def after_block(*_: Any) -> None:
        done["blocks"] += 1
        report()

    def after_transformer(_module: nn.Module, _inputs: Any, decoded: Any) -> None:
        done["pairs"] += len(decoded.initial_reference)
        report()

    hooks = [block.register_forward_hook(after_block) for block in blocks]
    hooks += [
        module.register_forward_hook(after_transformer)
        for module in model.modules()
        if isinstance(module, DeformableTransformer)
    ]
    progress(0, total)
    try:
        yield
        progress(total, total)
    finally:
        for hook in hooks:
            hook.remove()
