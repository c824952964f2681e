import hashlib
import importlib.util
import subprocess
import zipfile
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("repack", Path(__file__).parents[1] / "repack.py")
assert SPEC is not None
assert SPEC.loader is not None
repack = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(repack)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel laid out like the public one."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("detectron2/__init__.py", "__version__ = '0.7.2'\n")
        archive.writestr("detectron2/model_zoo/configs/Base.yaml", "VERSION: 2\n")
        archive.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        archive.writestr("tools/train_net.py", "raise SystemExit\n")
        archive.writestr("sal_detectron2-0.7.2.dist-info/LICENSE", "Apache License\n")
        archive.writestr("sal_detectron2-0.7.2.dist-info/METADATA", "Name: sal-detectron2\n")
    return path


def test_code_and_licence_are_kept_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    package, licence = repack.unpack(wheel, tmp_path / "files")
    kept = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    assert kept == {"__init__.py", "model_zoo/configs/Base.yaml"}
    assert licence.read_text() == "Apache License\n"
    assert not (tmp_path / "files" / "tools").exists()


def test_another_file_is_refused(wheel: Path) -> None:
    with pytest.raises(repack.SourceWheelError) as error:
        repack.check(wheel)
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in str(error.value)
    assert repack.SOURCE_SHA256 in str(error.value)


def test_a_wheel_fetched_beforehand_is_used(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(repack.LOCAL_WHEEL, str(wheel))
    assert repack.source_wheel(tmp_path) == wheel
    monkeypatch.setenv(repack.LOCAL_WHEEL, str(wheel / "absent"))
    with pytest.raises(repack.SourceWheelError, match="is not a file"):
        repack.source_wheel(tmp_path)


def test_offline_error_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.delenv(repack.LOCAL_WHEEL, raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(repack.SourceWheelError) as error:
        repack.source_wheel(tmp_path)
    for part in (
        repack.SOURCE,
        repack.SOURCE_SHA256,
        "pip download",
        repack.LOCAL_WHEEL,
        "No matching distribution",
    ):
        assert part in str(error.value)
