"""What is installed: the library itself, and what the diagnosis says."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from msda_ops import LibraryError, backend, library, ms_deform_attn
from msda_ops import __main__ as diagnosis
from msda_ops.reference import ms_deform_attn_reference

PACKAGE = Path(__file__).parent.parent


def test_the_library_is_there_where_a_compiler_is():
    """A build that breaks must not hide behind the twin."""
    if os.environ.get("MSDA_OPS_BUILD") == "none" or not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler here, or no library wanted")
    assert library.load().path.is_file()
    assert backend("cpu").name == "cpu"


def test_build_information(cpu_kernel):
    information = library.load().build_info
    assert {"compiler", "cuda"} <= information.keys()
    if information["cuda"] != "none":
        assert information["ptx"] == information["archs"].split(",")[-1]


def test_header_and_python_agree_on_the_interface():
    header = (PACKAGE / "csrc" / "msda.h").read_text()
    assert re.search(r"#define MSDA_ABI (\d+)", header)[1] == str(library.ABI)
    codes = {name.lower(): int(code) for name, code in re.findall(r"MSDA_(B?FLOAT\d+) = (\d)", header)}
    assert codes == library.DTYPE_CODES
    fields = re.search(r"typedef struct msda_problem \{(.*?)\}", header, re.DOTALL)[1]
    names = re.findall(r"(\w+);", fields)
    empty = library.Problem(batch=0, queries=0, heads=0, channels=0, points=0, spatial_shapes=[])
    assert names == [name for name, *_ in empty.struct._fields_]


def test_sources_know_nothing_of_torch_or_python():
    for source in (PACKAGE / "csrc").rglob("*.*"):
        included = re.findall(r"#include [<\"](.+?)[>\"]", source.read_text())
        assert not [name for name in included if re.match(r"(torch|ATen|c10|pybind11|Python)", name)], source


def test_diagnosis_succeeds(capsys: pytest.CaptureFixture[str]):
    assert diagnosis.main() == 0
    text = capsys.readouterr().out
    assert "Self-check: ok" in text
    assert "CUDA driver:" in text


def test_diagnosis_notices_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch, capsys, cpu_kernel):
    def wrong(*arguments):
        return ms_deform_attn_reference(*arguments) * 1.01

    monkeypatch.setattr(diagnosis, "ms_deform_attn", wrong)
    assert diagnosis.main() == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch):
    """As if the package had been installed without its library."""
    module = sys.modules["msda_ops.backend"]
    monkeypatch.setattr(library, "FILE_NAME", "nowhere.so")
    caches = [library._load, module._choose, module._warn]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_without_library_the_twin_runs_and_says_so(without_library, capsys: pytest.CaptureFixture[str]):
    chosen = backend("cpu")
    assert chosen.name == "twin"
    assert "without its compiled library" in chosen.reason
    assert "--reinstall-package msda-ops" in chosen.reason
    arguments = (torch.randn(1, 4, 1, 8), [(2, 2)], torch.rand(1, 1, 1, 1, 2, 2), torch.rand(1, 1, 1, 1, 2))
    with pytest.warns(RuntimeWarning, match="slow torch twin on cpu"):
        output = ms_deform_attn(*arguments)
    assert torch.equal(output, ms_deform_attn_reference(*arguments))
    assert diagnosis.main() == 0
    assert "Library: NONE" in capsys.readouterr().out


def test_a_file_that_is_no_library_is_refused(tmp_path: Path):
    broken = tmp_path / "libmsda.so"
    broken.write_text("not a library")
    with pytest.raises(LibraryError, match=r"cannot be loaded.*--reinstall-package"):
        library.Library(broken)
