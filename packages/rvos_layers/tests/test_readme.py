"""The README shows a model in a few lines."""

from pathlib import Path

from golden_cases.readme import run_readme, write_clip


def test_the_python_code_runs(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    masks = run_readme(Path(__file__).parents[1] / "README.md", tmp_path)["masks"]
    assert [(len(track), track.size) for track in masks.tracks] == [(4, (48, 64))]
