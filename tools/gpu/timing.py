"""Seconds, memory, launches and idle time of a piece of work on a device."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def wait(device: torch.device) -> None:
    """Until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    """By the clock, of each repeat, after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - start)
    return found[1:]


def device_milliseconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median of the time on the device alone: on a GPU by replaying a graph, so that it never waits for Python."""
    if device.type != "cuda":
        return 1e3 * statistics.median(seconds(work, device, repeats))
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times = []
    for _ in range(repeats + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[1:])


def peak_gib(work: Callable[[], Any], device: torch.device) -> float | None:
    """Most memory of a GPU that tensors took at a time; None elsewhere."""
    if device.type != "cuda":
        work()
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) / 2**30


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profiler saw of a piece of work.

    Attributes:
        operators: calls of torch's operators.
        launches: kernels that were started.
        waits: times that the processor waited for the GPU.
        idle: share of the time in which the GPU did nothing; None without a GPU.
    """

    operators: int
    launches: int
    waits: int
    idle: float | None


def profiled(work: Callable[[], Any], device: torch.device) -> Profile:
    """Profile one pass."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    wait(device)
    start = time.perf_counter()
    with profile(activities=activities) as record:
        work()
        wait(device)
    spent = time.perf_counter() - start
    events = record.key_averages()

    def count(names: tuple[str, ...]) -> int:
        return sum(event.count for event in events if event.key in names)

    busy = sum(event.self_device_time_total for event in events) / 1e6
    return Profile(
        operators=sum(event.count for event in events if event.key.startswith(("aten::", "msda_ops::"))),
        launches=count(LAUNCHES),
        waits=count(WAITS),
        idle=max(0.0, 1 - busy / spent) if device.type == "cuda" else None,
    )
