"""Order and number of downloads; a GPU is played by events that say when something has arrived."""

import numpy as np
import torch
from program_kit.torch.transfer import Download, arrived, to_device


class Arrival:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def query(self):
        return False

    def synchronize(self):
        self.log.append(f"wait for {self.name}")


def downloads(log, count, *, gpu):
    for number in range(count):
        log.append(f"begin {number}")
        made = Download([torch.tensor(number)])
        if gpu:
            made._arrival = Arrival(log, number)
        yield number, made


def test_the_next_work_begins_before_the_last_is_waited_for():
    log = []
    for number, (array,) in arrived(downloads(log, 3, gpu=True)):
        log.append(f"use {number}")
        assert array == number
    assert log == [
        "begin 0", "begin 1", "wait for 0", "use 0", "begin 2", "wait for 1", "use 1", "wait for 2", "use 2",
    ]  # fmt: skip


def test_what_is_on_the_processor_is_not_held_back():
    log = []
    for number, _ in arrived(downloads(log, 2, gpu=False)):
        log.append(f"use {number}")
    assert log == ["begin 0", "use 0", "begin 1", "use 1"]


def test_the_processor_copies_nothing():
    numbers = torch.arange(6)
    assert to_device(numbers, torch.device("cpu")) is numbers
    (array,) = Download([numbers]).arrays()
    assert np.shares_memory(array, numbers.numpy())
    assert list(arrived([])) == []
