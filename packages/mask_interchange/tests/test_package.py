"""The package as a whole: light to import, every promised name there."""

import json
import subprocess
import sys
from pathlib import Path

import mask_interchange


def test_every_public_name_is_where_the_table_says():
    assert sorted(mask_interchange._HOME_OF) == sorted(mask_interchange.__all__)
    source = Path(mask_interchange.__file__).read_text()
    typed = source[source.index("if TYPE_CHECKING:") : source.index("_HOMES")]
    for name in mask_interchange.__all__:
        assert getattr(mask_interchange, name) is not None
        assert name in typed, f"type checkers do not see {name}"


def test_import_is_light():
    """Importing the package, or the part that draws a command line's help, loads nothing heavy."""
    heavy = {"numpy", "av", "PIL", "pycocotools", "msgpack", "torch"}
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
