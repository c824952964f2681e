"""Devices and precisions by name."""

import pytest
import torch
from program_kit.errors import DeviceError, ProgramKitError
from program_kit.torch.device import choose_device
from program_kit.torch.precision import keep_float32, set_precision
from torch import nn


def test_devices_that_are_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("cuda", "count", "wanted", "message"),
    [
        (None, 0, "cuda", "is built without CUDA; use device cpu"),
        ("12.8", 0, "cuda:0", "finds no GPU; use device cpu, or see with nvidia-smi"),
        ("12.8", 2, "cuda:2", "torch finds cuda:0, cuda:1; use one of these, or device cpu"),
    ],
)
def test_a_device_that_is_not_there(monkeypatch, cuda, count, wanted, message):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(DeviceError, match=f"device {wanted}: .*{message}"):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:x", "meta", ""])
def test_no_device_at_all(wanted):
    with pytest.raises(DeviceError, match=f"device {wanted}: expected auto, cpu, cuda"):
        choose_device(wanted)


def network():
    network = nn.Sequential(nn.Linear(2, 2), keep_float32(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))
    network.register_buffer("places", torch.arange(2))
    return network.requires_grad_(False)


@pytest.mark.parametrize("precision", ["strict", "tf32"])
def test_float32_stays(precision):
    assert {tensor.dtype for tensor in network().state_dict().values()} == {torch.float32, torch.int64}
    changed = network()
    set_precision(changed, precision)
    assert {tensor.dtype for tensor in changed.state_dict().values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_weights_but_for_what_keeps_float32(precision):
    changed, half = network(), getattr(torch, precision)
    kept = {name: tensor.clone() for name, tensor in changed[1].state_dict().items()}
    set_precision(changed, precision)
    assert {tensor.dtype for tensor in changed[0].state_dict().values()} == {half}
    assert changed.places.dtype == torch.int64
    assert all(torch.equal(tensor, kept[name]) for name, tensor in changed[1].state_dict().items())
    assert changed[0](torch.ones(3, 2, dtype=half)).dtype == half
    assert changed[1](torch.ones(3, 2)).dtype == torch.float32


@pytest.mark.parametrize(("precision", "allowed"), [("strict", False), ("tf32", True), ("bfloat16", False)])
def test_products_follow_the_precision_while_it_is_entered(precision, allowed):
    def flags():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before, products = flags(), set_precision(network(), precision)
    assert flags() == before
    for _ in range(2):  # it may be entered again
        with products:
            assert flags() == (allowed, allowed)
            with set_precision(network(), "tf32"), products:  # and while it is entered
                assert flags() == (allowed, allowed)
            assert flags() == (allowed, allowed)
        assert flags() == before


def test_no_such_precision():
    with pytest.raises(ProgramKitError, match="precision 'half': expected one of strict, tf32, bfloat16, float16"):
        set_precision(network(), "half")  # pyright: ignore[reportArgumentType]
