"""Workers on a Ray cluster whose machines share their files: each slot is a Ray actor.

Ray places the actors, gives each a GPU, and restarts one elsewhere if its machine is lost.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from program_kit.progress import ProgressCallback

from fusion_core.errors import FusionCoreError
from fusion_core.running.executors.slot import Outcome, Verdict, WorkerSlot
from fusion_core.running.worker import Task

OWN_CLUSTER = "local"  # Ray's address for a new cluster on this machine
# Ray listens on all interfaces, even if it is told that its node is 127.0.0.1. Without clusters of several machines, as
# by default on Windows and macOS, it listens on the loopback interface only. It reads this when it is imported.
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_GIB = 2**30
_CLOSING = 30.0  # seconds that workers get to end by themselves
_ASK_EVERY = 1.0  # seconds
_PATIENCE = 15.0  # seconds that a cluster gets to answer; Ray itself tries an address for many minutes


class RayExecutor:
    """Worker slots on a cluster: one on each GPU, or one on each machine if there is no GPU.

    Args:
        address: of the cluster, for example `auto`; None for the one in RAY_ADDRESS, or a new one on this machine that
            other machines cannot reach.
        workers: number of workers, if not that.
        device: the programs' option; with `cpu` no GPU is used.
        memory: GiB of main memory that one worker needs; Ray reserves it.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, device: str = "auto", memory: float = 0.0
    ) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or OWN_CLUSTER
        self._workers = workers
        self._device = device
        self._memory = int(memory * _GIB)
        self._handles: list[_RaySlot] = []
        self._connected = False

    def __enter__(self) -> Sequence["_RaySlot"]:
        """Raises FusionCoreError: Ray is not installed, or there is no cluster or no machine that is large enough."""
        if self._address == OWN_CLUSTER:
            os.environ[_LOOPBACK_ONLY] = "0"
        ray = _ray()
        if not ray.is_initialized():
            if self._address != OWN_CLUSTER:
                _check_answer(self._address)
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
                raise FusionCoreError(f"--address {self._address}: no Ray cluster there: {error}") from error
            self._connected = True
        slots = self._slots()
        actor = ray.remote(WorkerSlot).options(
            num_cpus=1 if self._with_gpu else self._cpus(slots),
            num_gpus=int(self._with_gpu),
            memory=self._memory,
            max_restarts=-1,
            scheduling_strategy="SPREAD",
        )
        self._handles = [_RaySlot(actor.remote({})) for _ in range(slots)]
        return self._handles

    def __exit__(self, *error: object) -> None:
        ray = _ray()
        if error[0] is None:
            ray.wait([handle.actor.close.remote() for handle in self._handles], timeout=_CLOSING)
        for handle in self._handles:
            handle.end()
        if self._connected:
            ray.shutdown()

    @property
    def _with_gpu(self) -> bool:
        return self._device != "cpu" and _ray().cluster_resources().get("GPU", 0) >= 1

    def _slots(self) -> int:
        """Number of actors: as many as wanted, but none that no machine has room for."""
        machines = [self._fitting(machine) for machine in _machines()]
        wanted = self._workers or (sum(machines) if self._with_gpu else sum(fitting > 0 for fitting in machines))
        slots = min(wanted, sum(machines))
        if not slots:
            raise FusionCoreError(
                f"no machine of the Ray cluster has a free CPU{', a GPU' if self._with_gpu else ''} and"
                f" {self._memory / _GIB:.1f} GiB of memory for a worker; `ray status` shows what there is"
            )
        return slots

    def _cpus(self, slots: int) -> int:
        """CPUs, and so threads, for each of some workers without GPU."""
        cpus = [machine.get("CPU", 0) for machine in _machines()]
        return max(1, int(min(sum(cpus) / slots, min(cpus))))

    def _fitting(self, machine: Mapping[str, float]) -> int:
        """Number of workers that one machine has room for."""
        room = [machine.get("CPU", 0)]
        if self._with_gpu:
            room.append(machine.get("GPU", 0))
        if self._memory:
            room.append(machine.get("memory", 0) // self._memory)
        return int(min(room))


class _RaySlot:
    """A worker slot in an actor."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._ended = False

    def submit(self, task: Task, video: str, progress: ProgressCallback) -> "Future[Outcome]":
        """Start to do a video; no progress is reported."""
        settled: Future[Outcome] = Future()

        def settle(answer: "Future[Outcome]") -> None:
            try:
                settled.set_result(answer.result())
            except Exception as error:  # the actor, or its machine, was lost
                settled.set_result(Outcome(verdict=Verdict.LOST, error=f"the Ray actor was lost: {error}"))

        self.actor.process.remote(task, video).future().add_done_callback(settle)
        return settled

    def ready(self) -> "Future[None] | None":
        """Ray starts an actor, or restarts a lost one on any machine, as soon as there is room for it."""
        arrived: Future[None] = Future()

        def ask() -> None:
            if not self._ended:
                self.actor.close.remote().future().add_done_callback(hear)

        def hear(answer: "Future[None]") -> None:
            if answer.exception() is None:
                arrived.set_result(None)
            else:  # it is being restarted
                timer = threading.Timer(_ASK_EVERY, ask)
                timer.daemon = True
                timer.start()

        ask()
        return arrived

    def end(self) -> None:
        """Give the slot up."""
        self._ended = True
        _ray().kill(self.actor)


def _machines() -> list[dict[str, float]]:
    """The resources of each machine of the cluster."""
    return [node["Resources"] for node in _ray().nodes() if node["Alive"]]


def _check_answer(address: str) -> None:
    """Raise FusionCoreError if nothing answers at the address. Ray itself reports every other problem at once."""
    try:
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address],
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise FusionCoreError(
            f"--executor ray: no Ray cluster answers at {address} within {_PATIENCE:.0f} s; start one with"
            " `ray start --head`, which prints the address, or give another --address"
        ) from None


def _ray() -> Any:
    # Under `uv run`, Ray would copy the whole checkout to each machine; here machines share their files.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError as error:
        raise FusionCoreError(
            "--executor ray needs the extra `ray`: uv run --package fusion-core --extra ray fusion-core run ..."
        ) from error
    return ray
