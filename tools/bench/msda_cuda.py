# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Deformable attention on a GPU: the CUDA kernels against the torch twin and against the memory's own limit.

    uv run --package msda-ops python tools/bench/msda_cuda.py [--frames 36] [--device cuda:0]

The floor of a pass is the time to move its compulsory traffic (every input read once, every output written once) at the
bandwidth that a large copy reaches in the same run; no kernel without fused neighbours can be faster from a cold cache.
Candidates take turns within a repetition, each timed by events on the device; the table gives medians.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from msda_ops import backend, ms_deform_attn
from msda_ops.reference import ms_deform_attn_reference
from torch import Tensor

SHAPES = [(45, 80), (23, 40), (12, 20), (6, 10)]  # one 360x640 frame
TOKENS = sum(height * width for height, width in SHAPES)
HEADS, CHANNELS, POINTS = 8, 32, 4
QUERIES = {"encoder": TOKENS, "decoder, 900 queries": 900, "decoder, 20 queries": 20}
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def make_inputs(frames: int, queries: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """value, locations, weights and grad_output; encoder queries look around their own cell, as in the models."""
    generator = torch.Generator(device).manual_seed(0)
    random = {"generator": generator, "device": device}
    size = torch.tensor([[width, height] for height, width in SHAPES], device=device)
    if queries == TOKENS:
        centres = [
            torch.cartesian_prod((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width).flip(-1)
            for height, width in SHAPES
        ]
        reference = torch.cat(centres).to(device)
    else:
        reference = torch.rand(queries, 2, **random)
    grid = (frames, queries, HEADS, len(SHAPES), POINTS)
    locations = reference[None, :, None, None, None] + 3 * torch.randn(*grid, 2, **random) / size[:, None]
    weights = torch.randn(grid, **random).flatten(-2).softmax(-1).reshape(grid)
    value = torch.randn(frames, TOKENS, HEADS, CHANNELS, **random).to(dtype)
    grad_output = torch.randn(frames, queries, HEADS * CHANNELS, **random).to(dtype)
    return [value, locations, weights, grad_output]


def milliseconds(work: Callable[[], object]) -> float:
    """Device time of one call."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per millisecond, read plus written, of copying half a gigabyte."""
    source = torch.empty(2**29, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [milliseconds(lambda: target.copy_(source)) for _ in range(12)]
    return 2 * source.numel() / statistics.median(times[2:])


def compulsory_bytes(inputs: list[Tensor]) -> dict[str, int]:
    """Traffic of a pass when everything is moved once."""
    value, locations, weights, grad_output = (tensor.numel() * tensor.element_size() for tensor in inputs)
    return {
        "forward": value + locations + weights + grad_output,
        "backward": 2 * (value + locations + weights) + grad_output,
    }


def measure(inputs: list[Tensor], repetitions: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of twin and kernel per pass."""
    value, locations, weights, grad_output = inputs
    leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    candidates = {"twin": ms_deform_attn_reference, "kernel": ms_deform_attn}
    graphs = {name: attend(leaves[0], SHAPES, leaves[1], leaves[2]) for name, attend in candidates.items()}
    tolerance = 4 * torch.finfo(value.dtype).eps * float(graphs["twin"].abs().max())
    torch.testing.assert_close(graphs["kernel"], graphs["twin"], rtol=0, atol=max(tolerance, 1e-4))

    times: dict[str, dict[str, list[float]]] = {"forward": {}, "backward": {}}
    for repetition in range(repetitions + 3):  # the first three warm up
        for name, attend in candidates.items():
            with torch.no_grad():
                forth = milliseconds(lambda attend=attend: attend(value, SHAPES, locations, weights))
            back = milliseconds(
                lambda name=name: torch.autograd.grad(graphs[name], leaves, grad_output, retain_graph=True)
            )
            if repetition >= 3:
                times["forward"].setdefault(name, []).append(forth)
                times["backward"].setdefault(name, []).append(back)
    return {
        direction: {name: statistics.median(own) for name, own in by_name.items()}
        for direction, by_name in times.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=36, help="images in a batch")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--device", default="cuda:0")
    arguments = parser.parse_args()
    chosen = backend(arguments.device)
    if chosen.name != "cuda":
        raise SystemExit(f"nothing to measure on {arguments.device}: {chosen.reason}")
    device = torch.device(arguments.device)
    torch.cuda.set_device(device)

    bandwidth = copy_bandwidth(device)
    print(f"torch {torch.__version__}, {chosen.reason}, {arguments.frames} frames of 360x640, ", end="")
    print(f"copies reach {bandwidth / 1e6:.0f} GB/s; ms")
    print(f"{'':22}{'dtype':10}{'pass':10}{'twin':>10}{'kernel':>10}{'ratio':>8}{'floor':>10}{'kernel/floor':>14}")
    for shape, queries in QUERIES.items():
        for dtype in DTYPES:
            inputs = make_inputs(arguments.frames, queries, dtype, device)
            floors = compulsory_bytes(inputs)
            name = str(dtype).removeprefix("torch.")
            for direction, times in measure(inputs, arguments.repetitions).items():
                floor = floors[direction] / bandwidth
                row = f"{times['twin']:10.3f}{times['kernel']:10.3f}{times['twin'] / times['kernel']:8.1f}{floor:10.3f}"
                print(f"{shape:22}{name:10}{direction:10}{row}{times['kernel'] / floor:14.1f}")


if __name__ == "__main__":
    main()
