import av
import pytest
from golden_cases.readme import run_readme, write_clip

README = """# a package

    not = "run"

```python
from pathlib import Path

here = Path("clip.mp4").exists()
```

Then:

```python
both = here and {}
```
"""


def test_blocks_share_variables_and_run_in_the_folder(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    (tmp_path / "README.md").write_text(README.format(True))
    variables = run_readme(tmp_path / "README.md", tmp_path)
    assert variables["both"] is True
    assert "not" not in variables


def test_an_error_points_into_the_readme(tmp_path):
    (tmp_path / "README.md").write_text(README.format("1 / 0"))
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(ZeroDivisionError) as caught:
        run_readme(tmp_path / "README.md", tmp_path)
    last = caught.traceback[-1]
    assert (last.path.name, last.lineno + 1) == ("README.md", 14)


def test_a_readme_without_code_is_an_error(tmp_path):
    (tmp_path / "README.md").write_text("    indented = 1\n")
    with pytest.raises(ValueError, match="has no block"):
        run_readme(tmp_path / "README.md", tmp_path)


def test_a_clip_has_the_frames_asked_for(tmp_path):
    write_clip(tmp_path / "clip.mp4", frames=3, size=(32, 40))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(32, 40, 3)] * 3
