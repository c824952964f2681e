"""Roll a network out over a clip: the masks of the first frame are given, those of later frames are predicted.

Section 4.3 of the AOT paper (sequential training). The memory of a frame holds the labels that were predicted for it,
which have no gradient, and the frame's features, which have one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from aot_deaot.attention import Entry
from aot_deaot.network import FrameFeatures, PropagationNetwork, resize_logits
from aot_deaot.preprocess import network_labels


def roll_out(network: PropagationNetwork, frames: Tensor, given: Tensor) -> Tensor:
    """Segment B clips of T frames, all clips at once.

    Args:
        network: in training or evaluation mode.
        frames: float32 [B, T, 3, h, w], normalised, at network size.
        given: integer [B, H, W], the slots of the first frame at video size; 0 is background.

    Returns:
        Logits float32 [B, T, slots + 1, H, W] of all slots, with or without an object. Those of the first frame show
        how well the network reads the given masks; only training uses them.
    """
    clips, length, size = len(frames), frames.shape[1], (frames.shape[-2], frames.shape[-1])
    features = network.encode(rearrange(frames, "b t c h w -> (t b) c h w"))
    views = [_some(features, slice(t * clips, (t + 1) * clips)) for t in range(length)]

    def at_video_size(logits: Tensor) -> Tensor:
        return resize_logits(logits, (given.shape[-2], given.shape[-1]), network.config.align_corners)

    def identity(labels: Tensor) -> Tensor:
        return network.embed_ids(network_labels(labels, size, mirrored=False))

    reference = network.memorize_reference(views[0], identity(given))
    predicted = [at_video_size(network.decode(views[0], reference.states))]
    long = short = reference.entries
    for t in range(1, length):
        segmented = network.segment(views[t], [[entry] for entry in long], short)
        predicted.append(at_video_size(segmented.logits))
        if t < length - 1:
            short = network.memorize(segmented.layer_features, identity(predicted[-1].detach().argmax(dim=1)))
            if network.config.long_term_gap is not None and t % network.config.long_term_gap == 0:
                long = _with(long, short)
    return torch.stack(predicted, dim=1)


def _some(tree: Any, part: slice) -> Any:
    """Some frames of a batch of features; what does not depend on the frame is unchanged."""
    if isinstance(tree, FrameFeatures):
        return FrameFeatures(tree.size, _some(tree.first, part), _some(tree.skips, part))
    if isinstance(tree, tuple):
        return type(tree)(*(_some(branch, part) for branch in tree))
    return tree if tree is None or len(tree) == 1 else tree[part]


def _with(long: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """The long-term memory of every layer with one more frame."""
    return [
        tuple(torch.cat(parts, dim=2) for parts in zip(old, entry, strict=True))
        for old, entry in zip(long, new, strict=True)
    ]
