# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Deformable attention on the CPU: the msda_ops kernels against their torch twin, at the shapes of the models.

    uv run --package msda-ops python tools/bench/msda_cpu.py
    uv run --package msda-ops --with torch-ms-deform-attn python tools/bench/msda_cpu.py    # and against that package

One 360x640 frame on four levels. Every repetition runs all candidates one after the other, so that they meet the same
machine; the table gives medians and the median of the ratios within a repetition.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from msda_ops import backend, ms_deform_attn
from msda_ops.reference import ms_deform_attn_reference
from torch import Tensor

SHAPES = [(45, 80), (23, 40), (12, 20), (6, 10)]
TOKENS = sum(height * width for height, width in SHAPES)
HEADS, CHANNELS, POINTS = 8, 32, 4
# Encoders ask once per token; decoders 20 times (SOC), 5 times (MUTR, ReferFormer) or 900 times (UNINEXT) per frame.
QUERIES = {"encoder": TOKENS, "decoder, 900 queries": 900, "decoder, 20 queries": 20, "decoder, 5 queries": 5}

Attention = Callable[[Tensor, Sequence[tuple[int, int]], Tensor, Tensor], Tensor]


def make_inputs(queries: int, dtype: torch.dtype) -> list[Tensor]:
    """value, locations, weights and grad_output; encoder queries look around their own cell, as in the models."""
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([[width, height] for height, width in SHAPES], dtype=dtype)
    if queries == TOKENS:
        centres = [
            torch.cartesian_prod((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width).flip(-1)
            for height, width in SHAPES
        ]
        reference = torch.cat(centres).to(dtype)
    else:
        reference = torch.rand(queries, 2, generator=generator, dtype=dtype)
    grid = (1, queries, HEADS, len(SHAPES), POINTS)
    offsets = 3 * torch.randn(*grid, 2, generator=generator, dtype=dtype)  # pixels of the level
    locations = reference[None, :, None, None, None] + offsets / size[:, None]
    weights = torch.randn(grid, generator=generator, dtype=dtype).flatten(-2).softmax(-1).reshape(grid)
    value = torch.randn(1, TOKENS, HEADS, CHANNELS, generator=generator, dtype=dtype)
    grad_output = torch.randn(1, queries, HEADS * CHANNELS, generator=generator, dtype=dtype)
    return [value, locations, weights, grad_output]


def published_package() -> Attention | None:
    """`torch-ms-deform-attn` behind our signature, when it is installed."""
    try:
        import torch_ms_deform_attn as package  # pyright: ignore[reportMissingImports]  (optional, bench only)
    except ImportError:
        return None

    def attend(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
        sizes = torch.tensor(shapes)
        starts = torch.cat((sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]))
        return package.ms_deform_attn(value, sizes, starts, locations, weights)

    return attend


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(
    candidates: dict[str, Attention], inputs: list[Tensor], repetitions: int
) -> dict[str, dict[str, list[float]]]:
    """Times of every candidate's forward and backward pass, all of them once per repetition."""
    value, locations, weights, grad_output = inputs
    leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    graphs = {name: attend(leaves[0], SHAPES, leaves[1], leaves[2]) for name, attend in candidates.items()}
    twin = graphs["twin"]
    for name, output in graphs.items():
        torch.testing.assert_close(output, twin, rtol=0, atol=1e-4, msg=f"{name} computes something else")

    def forward(attend: Attention) -> Tensor:
        with torch.no_grad():
            return attend(value, SHAPES, locations, weights)

    times: dict[str, dict[str, list[float]]] = {"forward": {}, "backward": {}}
    for repetition in range(repetitions + 1):  # the first one warms up
        for name, attend in candidates.items():
            forth = seconds(lambda attend=attend: forward(attend))
            back = seconds(lambda name=name: torch.autograd.grad(graphs[name], leaves, grad_output, retain_graph=True))
            if repetition:
                times["forward"].setdefault(name, []).append(forth)
                times["backward"].setdefault(name, []).append(back)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    chosen = backend("cpu", dtype)
    if chosen.name != "cpu":
        raise SystemExit(f"nothing to measure: {chosen.reason}")

    candidates: dict[str, Attention] = {"twin": ms_deform_attn_reference, "msda_ops": ms_deform_attn}
    package = published_package()
    if package is not None:
        candidates["torch-ms-deform-attn"] = package
    print(f"torch {torch.__version__}, {chosen.reason}, {arguments.threads} threads, {arguments.dtype}, ", end="")
    print(f"{arguments.repetitions} repetitions; ms, and speed as a multiple of the twin's")
    print(f"{'':22}{'pass':10}" + "".join(f"{name:>30}" for name in candidates))
    for shape, queries in QUERIES.items():
        times = compare(candidates, make_inputs(queries, dtype), arguments.repetitions)
        for direction, by_name in times.items():
            cells = []
            for own in by_name.values():
                ratio = statistics.median(t / o for t, o in zip(by_name["twin"], own, strict=True))
                cells.append(f"{1e3 * statistics.median(own):10.3f} ms {ratio:8.1f} x")
            print(f"{shape:22}{direction:10}" + "".join(f"{cell:>30}" for cell in cells))


if __name__ == "__main__":
    main()
