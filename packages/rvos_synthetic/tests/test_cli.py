"""The command, as typed."""

import pytest
from mask_interchange import open_dataset
from PIL import Image
from rvos_synthetic.cli import app
from typer.testing import CliRunner

SMALL = ["--size", "32x48", "--frames", "2"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_data_set_and_a_sheet(tmp_path):
    out, sheet = tmp_path / "synthetic", tmp_path / "sheet.png"
    result = run("--out", out, "--sheet", sheet, "--split", "valid", "--videos", 2, *SMALL)
    assert result.exit_code == 0, result.output
    videos = open_dataset(out, "valid").videos
    assert [(len(video), video.size) for video in videos.values()] == [(2, (32, 48)), (2, (32, 48))]
    assert "2/2 videos" in result.output
    with Image.open(sheet) as image:
        assert image.width == 2 * (48 + 2)
        assert image.height > 2 * 32


def test_the_same_command_continues(tmp_path):
    command = ["--out", tmp_path / "synthetic", "--split", "train", "--videos", 1, *SMALL]
    assert run(*command).exit_code == 0
    assert run(*command).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "train", "--videos", "1"], "--out FOLDER, --sheet FILE or both"),
        (["--split", "trian", "--videos", "1", "--out", "x"], "split: expected train, valid, test, found 'trian'"),
        (["--split", "train", "--videos", "0", "--out", "x"], "videos: expected at least 1, found 0"),
        (["--split", "train", "--videos", "51", "--sheet", "x.png"], "a sheet shows 1 to 50 videos, found 51"),
        (["--split", "train", "--videos", "1", "--out", "x", "--size", "96"], "such as 96x160, found '96'"),
        (["--split", "train", "--videos", "1", "--out", "x", "--size", "-96x160"], "such as 96x160"),
        (["--split", "train", "--videos", "1", "--out", "x", "--size", "9x16"], "expected 32 to 2160 pixels"),
        (["--split", "train", "--videos", "1", "--out", "x", "--frames", "0"], "frames: expected 1 to 1000"),
        (["--videos", "1", "--out", "x"], "--split"),
        (["--split", "train", "--out", "x"], "--videos"),
    ],
)
def test_wrong_use_is_explained(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("--out", tmp_path / "file", "--split", "train", "--videos", 1, *SMALL)
    assert result.exit_code == 2
    assert result.output.startswith("rvos-synthetic: error: ")
    assert result.output.count("\n") == 1


def test_ctrl_c_says_how_to_continue(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("rvos_synthetic.dataset.write_dataset", interrupted)
    result = run("--out", tmp_path, "--split", "train", "--videos", 1)
    assert result.exit_code == 130
    assert "the same command continues" in result.output
