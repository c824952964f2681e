"""How far a model is with a video, told by its modules as they run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torchvision.models.resnet import Bottleneck

from rvos_layers.blocks.deformable import DeformableTransformer
from rvos_layers.encoders.video_swin import SlabBlock

Report = Callable[[int, int], None]  # units of work done, units in all
BACKBONE_SHARE = 2  # a frame in the backbone is about as much work as with two sentences behind it


@contextmanager
def reported(model: nn.Module, frames: int, sentences: int, report: Report) -> Iterator[None]:
    """Report while `model` works on a video: after every block of its backbone and every group of questions.

    Args:
        model: one with a `DeformableTransformer`, called once for every frame and sentence.
        frames, sentences: of the video.
        report: gets the units done, from 0 on, and all units; both reach the same at the end.
    """
    blocks = [module for module in model.modules() if isinstance(module, SlabBlock | Bottleneck)]
    backbone, total = BACKBONE_SHARE * frames, (BACKBONE_SHARE + sentences) * frames
    done = {"blocks": 0, "questions": 0}

    def tell() -> None:
        share = 1.0 if done["questions"] else done["blocks"] / max(1, len(blocks))
        report(min(total, round(backbone * share) + done["questions"]), total)

    def ran_block(*_: Any) -> None:
        done["blocks"] += 1
        tell()

    def ran_transformer(_module: nn.Module, _inputs: Any, decoded: Any) -> None:
        done["questions"] += len(decoded.initial_reference)
        tell()

    hooks = [block.register_forward_hook(ran_block) for block in blocks]
    hooks += [
        module.register_forward_hook(ran_transformer)
        for module in model.modules()
        if isinstance(module, DeformableTransformer)
    ]
    report(0, total)
    try:
        yield
        report(total, total)
    finally:
        for hook in hooks:
            hook.remove()
