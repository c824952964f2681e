"""Whether objects fit into the memory of a device, and sizes of groups."""

import psutil
import pytest
import torch
from program_kit import options
from program_kit.errors import InputError
from program_kit.torch import memory
from program_kit.torch.memory import check_objects, free_bytes, rows_at_once

CPU = torch.device("cpu")


def test_what_is_free_is_what_the_system_says():
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


def test_of_a_gpu_what_torch_has_cached_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_bytes(torch.device("cuda")) == 130


def test_the_number_that_fits_is_named(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1_000_000_000)
    check_objects(CPU, 8, each=100_000_000, shared=200_000_000, remedy="give fewer")
    check_objects(CPU, 0, each=100_000_000, shared=2_000_000_000, remedy="give fewer")
    with pytest.raises(InputError) as caught:
        check_objects(CPU, 9, each=100_000_000, shared=200_000_000, remedy="give fewer")
    message = (
        "9 objects at the same time take about 1.1 GB of memory, 1.0 GB are free on cpu: 8 objects fit; give fewer"
    )
    assert str(caught.value) == message


@pytest.fixture
def measured_anew(monkeypatch):
    monkeypatch.setattr(options, "memory_limit", None)
    memory.group_bytes.cache_clear()
    yield
    memory.group_bytes.cache_clear()


@pytest.mark.usefixtures("measured_anew")
def test_at_least_one_row():
    assert rows_at_once(CPU, 2**60) == 1
    assert rows_at_once(CPU, 2**20) == memory.CPU_GROUP // 2**20
    assert rows_at_once(CPU, 0) == memory.CPU_GROUP


@pytest.mark.usefixtures("measured_anew")
def test_a_limit_makes_groups_smaller_but_not_larger():
    options.set_memory(1000)
    assert rows_at_once(CPU, 1) == memory.CPU_GROUP
    memory.group_bytes.cache_clear()
    options.set_memory(0.5)
    assert rows_at_once(CPU, 1) == 2**29 * memory.GPU_SHARE


@pytest.mark.usefixtures("measured_anew")
def test_a_group_has_a_share_of_what_a_gpu_has_free(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**35)
    assert rows_at_once(torch.device("cuda:1"), 2**30) == 2
