"""Whole networks on a device: agreement with the processor in every precision, seconds, memory, launches."""

import importlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from program_kit.propagator import Job
from timing import peak_gib, profiled, seconds

PRECISIONS = ("strict", "tf32", "bfloat16", "float16")
SENTENCES = ["the red square", "a square that moves to the right", "the thing on the left", "a dog"]
# Most of the pixels that may differ from the processor's, on the small weights that the packages ship.
ALLOWED = {"strict": 1e-3, "tf32": 0.01, "bfloat16": 0.05, "float16": 0.02}


@dataclass(frozen=True, slots=True)
class Drawn:
    """Frames uint8 [T, H, W, 3] of a red square that moves over noise; a `program_kit.propagation.Frames`."""

    pixels: np.ndarray

    @classmethod
    def of(cls, frames: int, size: tuple[int, int]) -> "Drawn":
        """Frames of a size (H, W)."""
        pixels = np.random.default_rng(0).integers(0, 80, (frames, *size, 3), dtype=np.uint8)
        side = size[0] // 3
        for t, frame in enumerate(pixels):
            left = side // 2 + t * (size[1] - 2 * side) // max(1, frames)
            frame[side : 2 * side, left : left + side] = (220, 40, 40)
        return cls(pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def __len__(self) -> int:
        return len(self.pixels)

    def read_frame(self, i: int) -> np.ndarray:
        """One frame."""
        return self.pixels[i]

    def frames(self, start: int = 0) -> Iterator[np.ndarray]:
        """The frames from `start` on."""
        return iter(self.pixels[start:])

    def job(self, frame: int) -> Job:
        """The square of a frame, to be propagated."""
        return Job(frame, (self.pixels[frame, ..., 0] > 200).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a package.

    Attributes:
        name: what tables call it.
        kind: module and name of its Python class.
        published: its published configuration.
        shipped: the configuration of the weights that its package ships.
        tiny: its miniature.
        clip: frames and size (H, W) that its speed is measured on.
        masks: key frames that a propagator carries on; 0 for a program that takes sentences.
        others: seconds that the published code took for the same on an H200, where it was measured
            (docs/benchmarks.md).
    """

    name: str
    kind: tuple[str, str]
    published: str
    shipped: str
    tiny: str
    clip: tuple[int, tuple[int, int]]
    masks: int = 0
    others: float | None = None

    def load(self, **options: Any) -> Any:
        """Its predictor or propagator; raises ImportError where the package is not installed."""
        module, name = self.kind
        return getattr(importlib.import_module(module), name).load(**options)

    def masks_of(self, loaded: Any, video: Drawn) -> np.ndarray:
        """Bool [objects, T, H, W] of a video."""
        if not self.masks:
            return np.stack([track.stack() for track in loaded.segment(video.pixels, SENTENCES)])
        jobs = [video.job(index * 5 % len(video)) for index in range(self.masks)]
        masks = np.zeros((len(jobs), *video.pixels.shape[:3]), bool)
        for found in loaded.propagate(video, jobs):
            masks[found.job, found.frame] = found.mask()
        return masks


UNINEXT = ("uninext", "UNINEXTPredictor")
RVOS_CLIP, FRAME_CLIP, TRACK_CLIP = (36, (360, 640)), (12, (480, 854)), (8, (480, 854))
NETWORKS = [
    Network("SOC", ("soc", "SOCPredictor"), "joint-base", "demo", "tiny", RVOS_CLIP, 0, 2.16),
    Network("ReferFormer", ("referformer", "ReferFormerPredictor"), "video-swin-b", "demo", "tiny", RVOS_CLIP),
    Network("MUTR", ("mutr", "MUTRPredictor"), "video-swin-b", "demo", "tiny", RVOS_CLIP),
    Network("UNINEXT ConvNeXt-L", UNINEXT, "convnext-l", "demo-convnext", "tiny-convnext", FRAME_CLIP),
    Network("UNINEXT ViT-H", UNINEXT, "vit-h", "demo-vit", "tiny-vit", FRAME_CLIP),
    Network("AOT Swin-L", ("aot_deaot", "AOTPropagator"), "swinl_aotl", "demo", "tiny", TRACK_CLIP, 4, 9.4),
    Network("DeAOT Swin-L", ("aot_deaot", "DeAOTPropagator"), "swinl_deaotl", "demo", "tiny", TRACK_CLIP, 4),
]  # fmt: skip


def agreement(network: Network, device: torch.device) -> list[dict]:
    """One row a precision: pixels of masks that differ from those of the processor, on the shipped weights."""
    video = Drawn.of(5, (96, 160))
    expected = network.masks_of(network.load(config=network.shipped, device="cpu"), video)
    rows = []
    for precision in PRECISIONS:
        found = network.masks_of(network.load(config=network.shipped, device=str(device), precision=precision), video)
        differ = float((found != expected).mean())
        row = {"network": network.name, "precision": precision, "pixels that differ": differ}
        rows.append(row | {"right": differ <= ALLOWED[precision]})
    return rows


def speed(network: Network, device: torch.device, precision: str, *, tiny: bool, repeats: int) -> dict:
    """Seconds for the network's clip, memory, operators, launches, waits and the idle share of the GPU."""
    frames, size = (4, (64, 96)) if tiny else network.clip
    video = Drawn.of(frames, size)
    config = network.tiny if tiny else network.published
    loaded = network.load(seed=0, config=config, device=str(device), precision=precision)
    work = partial(network.masks_of, loaded, video)
    spent = statistics.median(seconds(work, device, repeats))
    record = profiled(work, device)
    return {
        "network": network.name,
        "precision": precision,
        "frames": frames,
        "seconds": spent,
        "published code on an H200": None if tiny else network.others,
        "frames/s": frames / spent,
        "peak GiB": peak_gib(work, device),
        "operators": record.operators,
        "launches": record.launches,
        "waits": record.waits,
        "idle": record.idle,
    }
