"""One box a frame out of several: the path that is best over the whole video.

The detector looks at each frame alone. Of two dogs it takes now this one and now that one. A path pays for every step
to a box elsewhere, so it stays with one object unless the scores say otherwise.
"""

import numpy as np
from numpy.typing import NDArray

SMOOTHNESS = 0.5  # what a step to a box without overlap costs, in units of score; not tuned on any data


def best_path(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], smoothness: float = SMOOTHNESS
) -> NDArray[np.intp]:
    """Which box to take in every frame, by the Viterbi algorithm; among equal paths that of the earlier boxes.

    The path maximises the sum of scores minus `smoothness * (1 - IoU)` of each pair of neighbours.

    Args:
        boxes: [T, K, 4] corners.
        scores: [T, K].
        smoothness: 0 takes the best box of every frame.

    Returns:
        [T] places among the K boxes.
    """
    total = scores[0].astype(np.float64)
    came_from = np.zeros(scores.shape, np.intp)
    for frame in range(1, len(scores)):
        steps = total[:, None] - smoothness * (1 - overlaps(boxes[frame - 1], boxes[frame]))
        came_from[frame] = steps.argmax(0)
        total = steps.max(0) + scores[frame]
    path = np.empty(len(scores), np.intp)
    path[-1] = total.argmax()
    for frame in range(len(scores) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def overlaps(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union [K, L] of boxes [K, 4] and [L, 4]; 0 for boxes without area."""
    a, b = one[:, None].astype(np.float64), other[None].astype(np.float64)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    shared = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
