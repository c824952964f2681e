"""The script for a GPU machine runs anywhere, says what is wrong, and what it left out."""

import argparse
import json
import sys
from pathlib import Path

import check
import kernels
import networks
import pytest
import torch


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: str) -> int:
        command = ["check.py", "--device", "cpu", "--tiny", "--repeats", "1", "--out", str(tmp_path / "found")]
        monkeypatch.setattr(sys, "argv", [*command, *arguments])
        return check.main()

    return call


def test_everything_on_the_processor(begin, tmp_path: Path):
    assert begin("--network", "SOC", "--network", "AOT Swin-L", "--precision", "strict") == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert found["not measured"] == []
    assert set(found["tables"]) == {"Kernels: right", "Networks: agree", "Kernels: speed", "Networks: speed"}
    assert {row["network"] for row in found["tables"]["Networks: speed"]} == {"SOC", "AOT Swin-L"}
    assert len(found["tables"]["Networks: agree"]) == 2 * len(networks.PRECISIONS)
    assert all(row["operators"] > 100 for row in found["tables"]["Networks: speed"])
    text = (tmp_path / "found.md").read_text()
    assert "| network | precision | pixels that differ | right |" in text


def test_a_wrong_kernel_is_found(begin, monkeypatch: pytest.MonkeyPatch):
    right = kernels.ms_deform_attn
    monkeypatch.setattr(kernels, "ms_deform_attn", lambda *inputs: 1.001 * right(*inputs))
    monkeypatch.setattr(networks, "NETWORKS", [])
    assert begin() == 1


def test_what_is_not_measured_is_said(begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    absent = networks.Network("Absent", ("no_such_package", "Predictor"), "a", "b", "c", (1, (8, 8)))
    monkeypatch.setattr(networks, "NETWORKS", [absent])
    assert begin("--minutes", "0.000001") == 0
    left_out = json.loads((tmp_path / "found.json").read_text())["not measured"]
    assert [line for line in left_out if "Absent: the minutes were over" in line]
    options = argparse.Namespace(tiny=True, repeats=1, network=None, precision=None, minutes=5)
    _, missing = check.run(torch.device("cpu"), options)
    assert [line for line in missing if "no_such_package" in line]
