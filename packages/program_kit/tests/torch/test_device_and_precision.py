"""Devices and precisions by name."""

import pytest
import torch
from program_kit.errors import DeviceError, ProgramKitError
from program_kit.torch.device import choose_device
from program_kit.torch.precision import autocast


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


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_autocast_computes_in_the_precision(precision):
    context, matrix = autocast(torch.device("cpu"), precision), torch.ones(2, 2)
    for _ in range(2):  # it may be entered again
        with context:
            assert (matrix @ matrix).dtype == getattr(torch, precision)
    assert (matrix @ matrix).dtype == torch.float32


def test_float32_holds_inside_another_autocast():
    matrix = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16), autocast(torch.device("cpu"), "float32"):
        assert (matrix @ matrix).dtype == torch.float32


def test_no_such_precision():
    with pytest.raises(ProgramKitError, match="precision 'half': expected one of float32, float16, bfloat16"):
        autocast(torch.device("cpu"), "half")  # pyright: ignore[reportArgumentType]
