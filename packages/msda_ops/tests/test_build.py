"""What is built where: for which GPUs, with which compiler, and what a wheel holds."""

import importlib
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from msda_ops import library

PACKAGE = Path(__file__).parent.parent


@pytest.fixture
def archs(monkeypatch):
    """The module of the build backend that decides for which GPUs to compile."""
    monkeypatch.syspath_prepend(PACKAGE / "build_backend")
    yield importlib.import_module("cuda_archs")
    del sys.modules["cuda_archs"]


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts an `nvidia-smi` in the place of the machine's; without text, one that fails."""
    tools = tmp_path / "driver"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)

    def says(text: str | None) -> None:
        answer = "exit 9" if text is None else f"cat <<'EOF'\n{text}\nEOF"
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{answer}\n")
        (tools / "nvidia-smi").chmod(0o755)

    return says


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (None, "none"),  # the driver does not answer
        ("", "none"),
        ("No devices were found", "none"),
        ("9.0", "90"),
        ("9.0\n9.0", "90"),
        ("12.0\n8.6", "86;120"),
        ("7.0", "none"),  # CUDA 13 has no compiler for it
        ("8.7", "86"),
        ("12.1", "120"),
        ("13.0", "120"),  # by PTX
    ],
)
def test_by_default_code_is_for_the_gpus_that_are_there(archs, driver, gpus, expected):
    driver(gpus)
    for environment in ({}, {"MSDA_OPS_BUILD": "auto"}):
        assert archs.cuda_archs(environment) == expected
    assert archs.cuda_archs({"MSDA_OPS_BUILD": "cpu"}) == "none"
    assert archs.cuda_archs({"MSDA_OPS_BUILD": "none"}) == "none"
    assert archs.cuda_archs({"MSDA_OPS_BUILD": "cuda"}) == "75;80;86;89;90;100;120"


def test_without_a_driver_there_is_no_gpu(archs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert archs.cuda_archs({}) == "none"


def _build_wheel(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv to build a wheel")
    command = [uv, "build", "--wheel", "--out-dir", str(out), str(PACKAGE)]
    outside = {name: value for name, value in os.environ.items() if name != "MSDA_OPS_BUILD"}
    return subprocess.run(command, env=outside | environment, capture_output=True, text=True, check=False)


def _content(out: Path) -> tuple[str, list[str]]:
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return wheel.name, [name for name in archive.namelist() if ".dist-info/" not in name]


PYTHON_FILES = {f"msda_ops/{path.name}" for path in (PACKAGE / "src" / "msda_ops").iterdir() if path.is_file()}


def test_wheel_holds_one_library_for_every_python(tmp_path: Path, driver):
    if not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("needs a C++ compiler")
    driver("")
    run = _build_wheel(tmp_path)
    assert run.returncode == 0, run.stderr
    name, files = _content(tmp_path)
    assert "-py3-none-" in name
    assert not name.endswith("-any.whl")
    assert set(files) == PYTHON_FILES | {f"msda_ops/{library.FILE_NAME}"}
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), tmp_path, "zip")
    built = library.Library(tmp_path / "msda_ops" / library.FILE_NAME)
    assert not built.has_cuda
    assert built.cpu_instructions


def test_without_compiler_the_wheel_is_pure(tmp_path: Path):
    run = _build_wheel(tmp_path, CXX=str(tmp_path / "no-such-compiler"), MSDA_OPS_BUILD="auto")
    assert run.returncode == 0, run.stderr
    name, files = _content(tmp_path)
    assert name.endswith("-py3-none-any.whl")
    assert set(files) == PYTHON_FILES
    assert "WITHOUT its compiled library" in run.stdout + run.stderr


@pytest.mark.parametrize("wanted", ["cpu", "cuda"])
def test_a_library_asked_for_by_name_must_build(wanted: str, tmp_path: Path):
    run = _build_wheel(tmp_path, CXX=str(tmp_path / "no-such-compiler"), MSDA_OPS_BUILD=wanted)
    assert run.returncode != 0
    assert not list(tmp_path.glob("*.whl"))


def test_no_library_can_be_asked_for(tmp_path: Path):
    run = _build_wheel(tmp_path, MSDA_OPS_BUILD="none")
    assert run.returncode == 0, run.stderr
    assert set(_content(tmp_path)[1]) == PYTHON_FILES


PTX, MACHINE_CODE = 1, 2


def _gpu_code(file: Path) -> set[tuple[int, int]]:
    """What nvcc put into a library: kind of code and compute capability (times ten), from the headers of its parts."""
    data, magic, found = file.read_bytes(), struct.pack("<I", 0xBA55ED50), set()
    at = data.find(magic)
    while at >= 0:
        version, header, size = struct.unpack_from("<HHQ", data, at + 4)
        part, end = at + header, at + header + size
        while version == 1 and header == 16 and part < end:
            kind, _, header_size, code_size = struct.unpack_from("<HHIQ", data, part)
            found.add((kind, *struct.unpack_from("<I", data, part + 28)))
            part += header_size + code_size
        at = data.find(magic, at + 4)
    return found


def test_the_installed_library_has_the_code_that_it_says(cpu_kernel):
    installed = library.load()
    listed = installed.build_info["archs"].split(",") if installed.has_cuda else []
    assert {str(arch) for kind, arch in _gpu_code(installed.path) if kind == MACHINE_CODE} == set(listed)


def test_the_release_wheel_has_code_for_every_gpu(archs, tmp_path):
    """`uv run nox -s wheel` builds it and names it."""
    wheel = os.environ.get("MSDA_OPS_WHEEL")
    if wheel is None:
        pytest.skip("MSDA_OPS_WHEEL is not set: no release wheel was built")
    shutil.unpack_archive(wheel, tmp_path, "zip")
    file = tmp_path / "msda_ops" / library.FILE_NAME
    assert set(_content(Path(wheel).parent)[1]) == PYTHON_FILES | {f"msda_ops/{file.name}"}
    code = {(MACHINE_CODE, arch) for arch in archs.RELEASED} | {(PTX, archs.RELEASED[-1])}
    assert _gpu_code(file) == code
    built = library.Library(file)
    assert built.build_info["archs"] == ",".join(map(str, archs.RELEASED))
    assert built.cpu_instructions
