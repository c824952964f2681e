"""A disk without room: exit code 1, words about what to do, nothing half-written, and then the same command works."""

import resource
import subprocess
import sys

import pytest
from fusion_core.cli import app
from typer.testing import CliRunner

ROOM = 100  # bytes that a file may have


def without_room(*arguments):
    """Call `fusion-core` where no file may grow beyond `ROOM`; to Python that looks as a full disk does.

    It writes no bytecode: Python would leave the first 100 bytes of it for everybody who imports the module later.
    """
    return subprocess.run(
        [sys.executable, "-B", "-c", "from fusion_core.cli import main; main()", *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM)),
        capture_output=True,
        text=True,
    )


COMMANDS = {
    "submit": "submit {runs}/a --dataset {dataset} --out {out}",
    "evaluate": "evaluate {runs}/a --annotations {dataset}/Annotations --dataset {dataset} --out {out}",
    "export": "export {runs}/a --out {out}",
    "export palette": "export {root}/labels --format palette --out {out}",
    "export coco": "export {runs}/a --format coco --out {out}",
    "export youtube-vis": "export {runs}/a --format youtube-vis --out {out}",
    "export overlay": "export {runs}/a --dataset {dataset} --format overlay --out {out}",
    "export rgba": "export {runs}/a --dataset {dataset} --format rgba --out {out}",
    "export yolo": "export {runs}/a --dataset {dataset} --format yolo --out {out}",
    "export rerun": "export {runs}/a --dataset {dataset} --format rerun --out {out}",
    "import": "import --annotations {dataset}/Annotations --out {out}",
    "import coco": "import --coco {root}/json/coco.json --out {out}",
    "report": "report --runs {runs} --dataset {dataset} --recipe {root}/one.toml --out {out}",
    "fuse": "fuse --members a,b --threshold 2 --runs {runs} --out {out}",
}


@pytest.fixture(scope="module")
def prepared(world):
    (world.root / "one.toml").write_text(f'result = "a"\n[run.a]\npath = {str(world.runs / "a")!r}\n')
    for arguments in (
        ["export", world.runs / "a", "--format", "coco", "--out", world.root / "json"],
        ["import", "--annotations", world.annotations, "--out", world.root / "labels"],
    ):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
    return world


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_half_written(prepared, tmp_path, name):
    out = tmp_path / "out"
    command = COMMANDS[name].format(root=prepared.root, runs=prepared.runs, dataset=prepared.dataset, out=out)
    arguments = command.split()
    result = without_room(*arguments)
    assert result.returncode == 1, result.stderr
    assert "the disk is full" in result.stderr
    assert str(out) in result.stderr
    assert "make room" in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(path.is_file() and path.name != ".lock" for path in tmp_path.rglob("*")), tree(tmp_path)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert not [path for path in tree(tmp_path) if ".writing" in path]
