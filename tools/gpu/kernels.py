"""Deformable attention on a device: correctness against the torch twin in float64, and milliseconds."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from msda_ops import ms_deform_attn
from msda_ops.reference import ms_deform_attn_reference
from timing import device_milliseconds
from torch import Tensor

Shapes = Sequence[tuple[int, int]]
MODEL = [(45, 80), (23, 40), (12, 20), (6, 10)]  # of a frame of 360x640
LARGE = [(100, 167), (50, 84), (25, 42), (13, 21)]  # of one of 800x1333
NAMES = ("output", "gradient of value", "gradient of locations", "gradient of weights")
LIMITS = {torch.float64: 1e-12, torch.float32: 4e-6, torch.float16: 1.1e-3, torch.bfloat16: 8e-3}  # of the largest


# Milliseconds on an H200: the best of the published CUDA kernels and of deformops 3.0.1 (docs/benchmarks.md).
BEST_OTHERS = {
    ("encoder 360x640, 36 frames", "float32"): {"forward": 0.81, "backward": 3.55},
    ("encoder 360x640, 36 frames", "bfloat16"): {"forward": 0.64, "backward": 3.76},
    ("encoder 800x1333, 1 frame", "float32"): {"forward": 0.12, "backward": 0.51},
    ("encoder 800x1333, 1 frame", "bfloat16"): {"forward": 0.097, "backward": 0.53},
    ("900 queries 360x640, 36 frames", "float32"): {"forward": 0.22, "backward": 0.71},
    ("300 queries, 36 frames", "bfloat16"): {"forward": 0.075, "backward": 0.39},
    ("20 queries, 1 frame", "float32"): {"forward": 0.012, "backward": 0.020},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sizes of a call."""

    name: str
    shapes: Shapes
    images: int = 2
    queries: int | None = None  # None for one a token
    heads: int = 8
    channels: int = 32
    points: int = 4
    spread: float = 1.0  # of the points over the map; some lie outside where it is more than 1

    def inputs(self, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
        """Value, locations, weights and a gradient of the output. No point lies where rounding decides its cell."""
        generator = torch.Generator(device).manual_seed(0)
        real = torch.float64 if dtype == torch.float64 else torch.float32
        tokens = sum(height * width for height, width in self.shapes)
        queries = tokens if self.queries is None else self.queries
        grid = (self.images, queries, self.heads, len(self.shapes), self.points)
        drawn = [
            torch.randn(size, generator=generator, device=device)
            for size in (
                (self.images, tokens, self.heads, self.channels),
                grid,
                (self.images, queries, self.heads * self.channels),
            )
        ]
        size = torch.tensor([[width, height] for height, width in self.shapes], device=device)[:, None]
        places = torch.rand(*grid, 2, generator=generator, device=device, dtype=torch.float64) - 0.5
        pixels = (0.5 + self.spread * places) * size - 0.5
        locations = (pixels.floor() + (pixels - pixels.floor()).clamp(0.01, 0.99) + 0.5) / size
        return [drawn[0].to(dtype), locations.to(real), drawn[1].to(real), drawn[2].to(dtype)]


def correctness_cases(tiny: bool) -> Iterator[Case]:
    """Sizes of the models, and all kinds of others."""
    if not tiny:
        yield Case(name="encoder", shapes=MODEL)
        yield Case(name="36 images", shapes=MODEL, images=36, queries=300)
    small = [(9, 11), (4, 5)]
    for channels in (1, 2, 3, 4, 8, 30, 32, 64, 71, 264) if not tiny else (4, 30):
        yield Case(name=f"{channels} channels", shapes=small, queries=37, heads=3, channels=channels, points=3)
    for levels in (1, 5, 64) if not tiny else (1,):
        shapes = [(1 + i % 7, 1 + i % 5) for i in range(levels)]
        yield Case(name=f"{levels} levels", shapes=shapes, queries=29, heads=2, points=2)
    for points in (1, 33) if not tiny else (5,):
        yield Case(name=f"{points} points", shapes=small, queries=19, heads=4, channels=16, points=points)
    yield Case(name="points outside", shapes=small, queries=50, heads=2, spread=30.0)


def results(attention: Callable[..., Tensor], inputs: Sequence[Tensor], shapes: Shapes) -> list[Tensor]:
    """The output and the three gradients."""
    value, locations, weights = leaves = [tensor.detach().requires_grad_() for tensor in inputs[:3]]
    output = attention(value, shapes, locations, weights)
    return [output.detach(), *torch.autograd.grad(output, leaves, inputs[3])]


def check(device: torch.device, *, tiny: bool) -> list[dict]:
    """One row a case and type: the worst difference from the twin in float64 as a multiple of what is allowed."""
    rows = []
    for case, (dtype, limit) in itertools.product(correctness_cases(tiny), LIMITS.items()):
        inputs = case.inputs(dtype, device)
        found = results(ms_deform_attn, inputs, case.shapes)
        expected = results(ms_deform_attn_reference, [tensor.double() for tensor in inputs], case.shapes)
        sums = 10 * LIMITS[torch.float64 if dtype == torch.float64 else torch.float32]
        worst, name = 0.0, NAMES[0]
        for number, (ours, exact) in enumerate(zip(found, expected, strict=True)):
            largest = float(exact.abs().max().clamp_min(1e-30))
            allowed = limit if number < 2 else sums
            excess = float((ours.double() - exact).abs().max()) / largest / allowed
            if not excess <= worst:  # NaN is the worst of all
                worst, name = excess, NAMES[number]
        rows.append({"case": case.name, "type": _short(dtype), "of the limit": worst, "in": name, "right": worst <= 1})
    return rows


def speed_cases(tiny: bool) -> list[Case]:
    """The calls of the models."""
    if tiny:
        return [Case(name="tiny", shapes=[(4, 5)], queries=7)]
    return [
        Case(name="encoder 360x640, 36 frames", shapes=MODEL, images=36),
        Case(name="encoder 800x1333, 1 frame", shapes=LARGE, images=1),
        Case(name="900 queries 360x640, 36 frames", shapes=MODEL, images=36, queries=900),
        Case(name="300 queries, 36 frames", shapes=MODEL, images=36, queries=300),
        Case(name="20 queries, 1 frame", shapes=MODEL, images=1, queries=20),
    ]


def speed(device: torch.device, *, tiny: bool, repeats: int) -> list[dict]:
    """Milliseconds on the device, forward and backward, of each case and type."""
    rows = []
    for case, dtype in itertools.product(speed_cases(tiny), (torch.float32, torch.bfloat16)):
        value, locations, weights, gradient = case.inputs(dtype, device)
        sides = [side for shape in case.shapes for side in shape]
        passes = {
            "forward": lambda: torch.ops.msda_ops.forward(value, sides, locations, weights),  # noqa: B023 - called here
            "backward": lambda: torch.ops.msda_ops.backward(gradient, value, sides, locations, weights),  # noqa: B023
        }
        if device.type != "cuda" and dtype != torch.float32:
            continue  # no kernel of the processor computes in half precision
        for name, work in passes.items():
            milliseconds = device_milliseconds(work, device, repeats)
            other = BEST_OTHERS.get((case.name, _short(dtype)), {}).get(name)
            row = {"shape": case.name, "type": _short(dtype), "pass": name, "ms": milliseconds}
            rows.append(row | {"best other on an H200": other})
    return rows


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
