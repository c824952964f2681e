"""Stands for a model that somebody else wrote. It knows nothing of this project, and no shape: only three colours."""

import numpy as np

WEIGHTS = {"red": (1, -0.5, -0.5), "green": (-0.5, 1, -0.5), "blue": (-0.5, -0.5, 1)}  # of a 1x1 convolution


def segment(frame: np.ndarray, sentence: str) -> np.ndarray:
    """Probabilities float32 [H, W] that a pixel of uint8 [H, W, 3] has a colour of the sentence."""
    kernels = [kernel for word, kernel in WEIGHTS.items() if word in sentence.lower().split()]
    if not kernels:
        return np.zeros(frame.shape[:2], np.float32)
    logits = (frame @ np.array(kernels).T).max(axis=2) / 16 - 4
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
