"""The same recipe on a real Ray cluster of two machines, which here are two nodes on this one."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from fusion_core.errors import FusionCoreError
from fusion_core.running.executors.ray import RayExecutor
from fusion_core.running.plan import make_plan
from fusion_core.running.runner import run_plan

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # as the executor does; Ray reads it when it is imported
ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")

GIB = 2**30


SIZES = {"num_cpus": 1, "num_gpus": 0, "memory": 4 * GIB, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes; the second has two GPUs, as far as Ray knows."""
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=SIZES)
    cluster.add_node(**(SIZES | {"num_cpus": 2, "num_gpus": 2}))
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def started(stage):
    """GPU and node of every process that was started."""
    lines = stage.log.read_text().splitlines()
    return [tuple(line.split()[1:]) for line in lines if line.startswith("started")]


def test_a_cluster_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # else an address that a killed cluster left would be tried
    assert not ray.is_initialized(), "runs before the cluster of the others is there"
    with pytest.raises(FusionCoreError, match="--address auto: no Ray cluster there"):
        RayExecutor("auto").__enter__()


def test_an_address_that_does_not_answer_is_an_error_soon(monkeypatch):
    """Something listens there, but it is no cluster; Ray itself would ask for minutes."""
    monkeypatch.setattr("fusion_core.running.executors.ray._PATIENCE", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(FusionCoreError, match=f"no Ray cluster answers at {address} within 3 s"):
            RayExecutor(address).__enter__()


def test_a_cluster_of_its_own_listens_on_the_loopback_interface_only(tmp_path):
    """In a process of its own: Ray reads when it is imported whether other machines may reach it."""
    script = (
        "import psutil\n"
        "from fusion_core.running.executors.ray import RayExecutor\n"
        "with RayExecutor(device='cpu', workers=1):\n"
        "    me = psutil.Process()\n"
        "    for process in (me, *me.children(recursive=True)):\n"
        "        for place in process.net_connections('inet'):\n"
        "            if place.status == psutil.CONN_LISTEN:\n"
        "                print(place.laddr.ip)\n"
    )
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    variables = kept | {"RAY_raylet_start_wait_time_s": "120"}
    said = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    listening = {line.removeprefix("::ffff:") for line in said.stdout.split()}
    assert listening == {"127.0.0.1"}


def test_two_nodes_share_the_videos_and_make_the_same(cluster, stage, undisturbed):
    recipe = stage.recipe(a=("--pause", "0.5"), b=("--pause", "0.5"))
    summary, _ = stage.carry_out(recipe, executor=RayExecutor(device="cpu"))
    assert summary.complete
    assert stage.files() == undisturbed
    assert len({node for _, node in started(stage)}) == 2
    assert set(stage.computed().values()) == {1}


def test_every_gpu_of_the_cluster_gets_a_worker(cluster, stage):
    summary, _ = stage.carry_out(stage.alone("--pause", "1"), executor=RayExecutor())
    assert summary.complete
    assert {gpu for gpu, _ in started(stage)} == {"0", "1"}


def test_workers_that_fit_nowhere_are_an_error(cluster):
    with pytest.raises(FusionCoreError, match=r"no machine of the Ray cluster .* 50\.0 GiB of memory"):
        RayExecutor(memory=50).__enter__()
    with RayExecutor(workers=9, memory=1.5, device="cpu") as slots:
        assert len(slots) == 3  # one and two CPUs


def test_what_a_lost_machine_was_at_is_done_by_another(cluster, stage, undisturbed):
    cluster.add_node(**SIZES)
    machines = {str(node.all_processes["raylet"][0].process.pid): node for node in cluster.worker_nodes}
    events = []

    def lose_a_machine_at_work():
        """Whichever has work first, but the head; not at an event of the run: the next may be that the work is done."""
        while not (stage.log.exists() and (at_work := machines.keys() & {node for _, node in started(stage)})):
            time.sleep(0.05)
        cluster.remove_node(machines[at_work.pop()], allow_graceful=False)

    recipe = stage.recipe(a=("--pause", "3"), b=("--pause", "3"), p=("--pause", "3"))
    watcher = threading.Thread(target=lose_a_machine_at_work, daemon=True)
    watcher.start()
    summary = run_plan(
        make_plan(stage.context(recipe)), RayExecutor(device="cpu"), lambda event: events.append(event.kind)
    )
    watcher.join(timeout=10)
    assert not watcher.is_alive(), "no machine but the head had work"
    assert summary.complete, summary
    assert "retried" in events
    assert stage.files() == undisturbed
