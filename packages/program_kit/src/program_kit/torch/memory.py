"""Whether the memory of a device has room for the objects of a video."""

import psutil
import torch

from program_kit.errors import InputError


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still take on a device; of a GPU also what torch has cached and does not use."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


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
