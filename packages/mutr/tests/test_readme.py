"""The README shows how to use the package from Python."""

from pathlib import Path

from golden_cases.readme import run_readme, write_clip


def test_the_python_code_runs(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    variables = run_readme(Path(__file__).parents[1] / "README.md", tmp_path)
    masks, track = variables["masks"], variables["track"]
    assert [one.expression.text for one in masks.tracks] == ["the red star", "the star that turns"]
    assert track.expression.text == "the red star"
    assert (len(track), track.size) == (4, (48, 64))
