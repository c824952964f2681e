"""From the network's answers to what is kept of a frame: a query, its score, a probability map at full size."""

from torch import Tensor
from torch.nn import functional

MASK_STRIDE = 4


def query_scores(class_logits: Tensor, iou_logits: Tensor) -> Tensor:
    """Scores 0..1 of queries: geometric mean of agreement and predicted overlap; any shape."""
    return (class_logits.sigmoid() * iou_logits.sigmoid()).sqrt()


def best_queries(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Best query of each expression and its score, [E] each, from scores [E, Q]."""
    best = scores.max(-1)
    return best.indices, best.values


def mask_probabilities(logits: Tensor, image_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Probabilities [E, H, W] at full size from logits [E, h, w] at stride 4 of the padded frame.

    Upsampled by 4 before the sigmoid, cropped to the unpadded `image_size`, then taken to `output_size` by nearest
    neighbour: outlines are blocky, as in the published results.
    """
    at_input = functional.interpolate(
        logits[:, None], scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False
    ).sigmoid()
    cropped = at_input[..., : image_size[0], : image_size[1]]
    return functional.interpolate(cropped, output_size, mode="nearest")[:, 0]
