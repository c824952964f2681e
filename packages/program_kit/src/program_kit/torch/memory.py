"""The memory of a device: whether it has room for the objects of a video, and how much goes through a network at once.

A processor is fastest with groups that nearly fit its caches, a GPU with groups that keep all of it busy. The sizes of
all groups follow from this one place; results do not.
"""

from functools import lru_cache

import psutil
import torch

from program_kit import options
from program_kit.errors import InputError

CPU_GROUP = 2**28  # bytes
GPU_SHARE = 1 / 16  # of its free memory: some ten results of a group's largest kind exist at a time


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still take on a device; of a GPU also what torch has cached and does not use."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


def rows_at_once(device: torch.device, row_bytes: int) -> int:
    """How many independent rows go through a part of a network together, at least one.

    Args:
        device: where the network is.
        row_bytes: size of the largest intermediate result that one row (a frame, a window, an expression) has there.
    """
    return max(1, group_bytes(device) // max(1, row_bytes))


@lru_cache
def group_bytes(device: torch.device) -> int:
    """Bytes that the largest intermediate result of a group may have; measured when a device is first asked for."""
    usual = CPU_GROUP if device.type == "cpu" else int(free_bytes(device) * GPU_SHARE)
    return usual if options.memory_limit is None else min(usual, int(options.memory_limit * 2**30 * GPU_SHARE))


def check_objects(device: torch.device, objects: int, *, each: int, shared: int = 0, remedy: str) -> None:
    """Check, before work begins, that objects fit into the free memory of a device.

    Args:
        device: where they are to be.
        objects: that go through a video at the same time.
        each: bytes that one of them takes.
        shared: bytes that any number of them takes together.
        remedy: what the user can do, as the end of a sentence.

    Raises:
        InputError: they do not fit; says how many do.
    """
    free = free_bytes(device)
    fit = max(0, (free - shared) // each)
    if objects > fit:
        needed = shared + objects * each
        raise InputError(
            f"{objects} objects at the same time take about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are "
            f"free on {device}: {fit} objects fit; {remedy}"
        )
