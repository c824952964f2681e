"""At which pixels predicted masks are compared with the ground truth. The models' mask terms differ in this alone.

A view cuts a batch of clips into parts: mask logits [B, n, P] of n queries and the ground truth [B, P] at the same P
pixels. Terms are computed for each part: for SOC a part is a frame, for ReferFormer and MUTR it is the whole clip.
"""

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn.functional import interpolate

MaskView = Callable[[Tensor, Tensor], Iterator[tuple[Tensor, Tensor]]]

EVERY_FOURTH = slice(2, None, 4)  # pixels of the ground truth at the cells of a stride-4 map


def frames_at_full_size(logits: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Frame by frame, logits enlarged to the size of the ground truth (SOC).

    Args:
        logits: [B, T, n, h, w].
        masks: bool[B, T, H, W].

    Yields:
        T parts of P = H * W pixels. One frame is enlarged at a time.
    """
    for some, truth in zip(logits.unbind(1), masks.unbind(1), strict=True):
        large = interpolate(some, truth.shape[1:], mode="bilinear", align_corners=False)
        yield large.flatten(2), truth.flatten(1).to(large)


def every_fourth_pixel(logits: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole clip at once, at every fourth pixel of the ground truth (ReferFormer, MUTR).

    Args:
        logits: [B, T, n, h, w].
        masks: bool[B, T, 4h, 4w].

    Yields:
        One part of P = T * h * w pixels.
    """
    yield logits.transpose(1, 2).flatten(2), masks[:, :, EVERY_FOURTH, EVERY_FOURTH].flatten(1).to(logits)
