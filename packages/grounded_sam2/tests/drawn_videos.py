"""Small videos and networks for the tests."""

import numpy as np
import torch
from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from mask_interchange import open_video
from PIL import Image

SIZE = (45, 80)


def save_video(folder, frames, expressions=("one",)):
    """Noise with a square that moves, as a folder of frames; opened."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for i in range(frames):
        image = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        image[10:25, 2 * i : 2 * i + 20] = (200, 40, 30)
        Image.fromarray(image).save(folder / f"{i:05d}.png")
    return open_video(folder, list(expressions)).videos[folder.name]


def block(top, left, height=15, width=20):
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def lively_network():
    """A tiny network whose weights are large enough for memory to matter."""
    network = SAM2_CHECKPOINTS.load("tiny", None, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
        # as drawn, the network finds nothing after the key frame
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20.0)
    return network
