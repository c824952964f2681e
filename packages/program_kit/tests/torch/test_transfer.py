"""Order and number of downloads; a GPU is played by events that say when something has arrived."""

import numpy as np
import pytest
import torch
from program_kit.torch import transfer
from program_kit.torch.transfer import Download, arrived, packed_bits, to_device, unpacked


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


@pytest.mark.parametrize("shape", [(0, 4), (), (1,), (7,), (8,), (3, 5, 7), (2, 16, 9)])
def test_masks_survive_as_bits(shape):
    masks = torch.from_numpy(np.asarray(np.random.default_rng(0).random(shape) < 0.4))
    bits = packed_bits(masks)
    np.testing.assert_array_equal(bits.numpy(), np.packbits(masks.numpy(), bitorder="little"))
    found = unpacked(bits.numpy(), masks.shape)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, masks.numpy())


def test_every_byte_survives_as_bits():
    every = np.unpackbits(np.arange(256, dtype=np.uint8)).astype(bool)
    masks = torch.from_numpy(every)
    np.testing.assert_array_equal(unpacked(packed_bits(masks).numpy(), masks.shape), every)


def test_parts_of_masks_survive_as_bits():
    masks = torch.from_numpy(np.random.default_rng(0).random((5, 11, 13)) < 0.5)
    for part in (masks[1:], masks[:, 3:8], masks.flatten()[3:11], masks.transpose(0, 2)):
        np.testing.assert_array_equal(unpacked(packed_bits(part).numpy(), part.shape), part.numpy())


def test_masks_alone_leave_a_gpu_as_bits(monkeypatch):
    masks, numbers = torch.tensor([[True, False, True]]), torch.tensor([1.5])
    usual = Download([masks, numbers])
    assert usual._results[0] is masks
    monkeypatch.setattr(transfer, "_goes_as_bits", lambda result: result.dtype == torch.bool)
    download = Download([numbers, masks, numbers])
    assert [result.dtype for result in download._results] == [torch.float32, torch.uint8, torch.float32]
    for found, expected in zip(download.arrays(), (numbers, masks, numbers), strict=True):
        np.testing.assert_array_equal(found, expected.numpy())
