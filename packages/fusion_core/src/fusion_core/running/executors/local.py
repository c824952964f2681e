"""Workers on this machine: one on each GPU, or one on the CPU, unless another number is given."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
from program_kit.progress import ProgressCallback

from fusion_core.running.executors.slot import Outcome, WorkerSlot
from fusion_core.running.worker import Task

_GIB = 2**30


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def memory_of(device: str) -> float:
    """GiB of memory that a program on a device may use: those of the smallest GPU, or of the machine on the CPU."""
    if device != "cpu" and gpus() and shutil.which("nvidia-smi") is not None:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"], capture_output=True, text=True
        )
        sizes = [int(size) for size in listed.stdout.split() if size.isdecimal()]
        if sizes:
            return min(sizes) / 2**10
    return psutil.virtual_memory().total / _GIB


class LocalExecutor:
    """Worker slots on this machine.

    Attributes:
        slots: how many there are.
        limited_by_memory: whether more main memory would allow more.

    Args:
        workers: number of workers; None for one on each GPU, or one if there is no GPU.
        device: the programs' option; with `cpu` no GPU is used, with `cuda:N` the programs choose theirs.
        memory: GiB of main memory that one worker needs.
    """

    def __init__(self, workers: int | None = None, device: str = "auto", memory: float = 0.0) -> None:
        self._gpus = gpus() if device in {"auto", "cuda"} else []
        wanted = workers or len(self._gpus) or 1
        free = psutil.virtual_memory().available / _GIB
        self.slots = wanted if memory * wanted <= free else max(1, int(free / memory))
        self.limited_by_memory = self.slots < wanted
        self._handles: list[_LocalSlot] = []

    def __enter__(self) -> Sequence["_LocalSlot"]:
        self._handles = [_LocalSlot(WorkerSlot(self._environment(number)), number) for number in range(self.slots)]
        return self._handles

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.end(at_once=error[0] is not None)

    def _environment(self, number: int) -> dict[str, str]:
        environment = {"CUDA_VISIBLE_DEVICES": self._gpus[number % len(self._gpus)]} if self._gpus else {}
        if self.slots > 1 and "OMP_NUM_THREADS" not in os.environ:  # else each worker takes all cores
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.slots))
        return environment


class _LocalSlot:
    """A slot with a thread of its own, which mostly waits for the worker."""

    def __init__(self, slot: WorkerSlot, number: int) -> None:
        self._slot = slot
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"slot-{number}")

    def submit(self, task: Task, video: str, progress: ProgressCallback) -> "Future[Outcome]":
        """Start to do a video."""
        return self._thread.submit(self._slot.process, task, video, progress)

    def ready(self) -> None:
        """At once: a new process is started for the next video."""

    def end(self, *, at_once: bool) -> None:
        """Close the slot."""
        if at_once:
            self._slot.kill()
        self._thread.submit(self._slot.close)
        self._thread.shutdown()
