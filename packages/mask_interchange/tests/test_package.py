"""The package as a whole."""

import json
import subprocess
import sys
from pathlib import Path


def test_import_is_light():
    """A program that shows its help imports this package: nothing of a command line, no decoder, no torch."""
    heavy = {"av", "rich", "torch", "typer"}
    code = f"import mask_interchange, sys; print(*{heavy!r} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_the_readme_example_runs(data, tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    meta = json.loads((data / "davis_mini/meta_expressions.json").read_text())
    dog = meta["videos"]["dog"] | {"frames": meta["videos"]["dog"]["frames"][:3]}
    (tmp_path / "davis_mini").mkdir()
    (tmp_path / "davis_mini/meta_expressions.json").write_text(json.dumps({"videos": {"dog": dog}}))
    (tmp_path / "davis_mini/JPEGImages").symlink_to(data / "davis_mini/JPEGImages")
    exec(compile(code, "README.md", "exec"), {})
    assert "pixels" in capsys.readouterr().out
