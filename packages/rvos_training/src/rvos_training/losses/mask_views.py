"""How drawn masks are laid beside the true ones. The models differ here and in nothing else of the mask terms.

A view cuts a batch of clips into parts: mask logits [B, n, P] of n queries and the true mask [B, P] over the same P
pixels. Terms are computed for each part: of SOC a part is a frame, of ReferFormer and MUTR it is the whole clip.
"""

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn.functional import interpolate

MaskView = Callable[[Tensor, Tensor], Iterator[tuple[Tensor, Tensor]]]

THINNED = slice(2, None, 4)  # pixels of the true mask that stand for the cells of a stride-4 map


def frames_at_full_size(logits: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Frame by frame, logits enlarged to the true mask's size (SOC).

    Args:
        logits: [B, T, n, h, w].
        masks: bool[B, T, H, W].

    Yields:
        T parts of P = H * W pixels; only one frame is enlarged at a time.
    """
    for some, truth in zip(logits.unbind(1), masks.unbind(1), strict=True):
        large = interpolate(some, truth.shape[1:], mode="bilinear", align_corners=False)
        yield large.flatten(2), truth.flatten(1).to(large)


def clip_thinned_out(logits: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole clip at once, every fourth pixel of the true mask (ReferFormer, MUTR).

    Args:
        logits: [B, T, n, h, w].
        masks: bool[B, T, 4h, 4w].

    Yields:
        one part of P = T * h * w pixels.
    """
    yield logits.transpose(1, 2).flatten(2), masks[:, :, THINNED, THINNED].flatten(1).to(logits)
