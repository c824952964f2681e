"""`fusion-core import`, `export`, `show` and `check-dataset`."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks
from PIL import Image
from typer.testing import CliRunner

SIZE = (5, 7)
NAMES = ("00000", "00005", "00010")
MANIFEST = RunManifest(producer="test", producer_version="1", dataset={"name": "d", "split": None, "fingerprint": None})


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def run(tmp_path):
    """Two videos; expressions do not overlap, so that every layout can hold them."""
    made = MaskRun.create(tmp_path / "run", MANIFEST)
    for number, video in enumerate(("bb", "aa")):
        owner = np.random.default_rng(number).integers(0, 4, (len(NAMES), *SIZE))
        tracks = tuple(
            MaskTrack.from_masks(Expression(id=str(i)), owner == i, key_frame=2 if i == 1 else 0) for i in (1, 2)
        )
        made.write(VideoMasks(video=video, size=SIZE, frame_names=NAMES, tracks=tracks))
    return made


def content(folder):
    return {video: MaskRun.open(folder).read(video) for video in MaskRun.open(folder).videos()}


@pytest.mark.parametrize(("form", "folder"), [("png", "masks"), ("palette", "palette")])
def test_png_masks_go_out_and_come_back(run, tmp_path, form, folder):
    assert call("export", run.path, "--out", tmp_path / "png", "--format", form).exit_code == 0
    result = call("import", "--annotations", tmp_path / "png" / folder, "--out", tmp_path / "back")
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "back") == content(run.path)


def test_youtube_vis_goes_out_and_comes_back(run, tmp_path):
    assert call("export", run.path, "--format", "youtube-vis", "--out", tmp_path / "json").exit_code == 0
    assert call("import", "--coco", tmp_path / "json/youtube_vis.json", "--out", tmp_path / "back").exit_code == 0
    assert content(tmp_path / "back") == content(run.path)


def test_the_challenge_s_folder_and_key_frames_are_written(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    image = Image.open(tmp_path / "png/masks/Annotations" / "aa" / "1" / "00005.png")
    assert image.mode == "L"
    assert np.array_equal(np.array(image), 255 * run.read("aa").track("1").mask(1))
    keys = json.loads((tmp_path / "png/masks/key_frame.json").read_text())
    assert keys["aa"] == {"1": {"index_info": {"class_index": 2}}, "2": {"index_info": {"class_index": 0}}}


def test_key_frames_may_lie_elsewhere(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    moved = (tmp_path / "png/masks/key_frame.json").rename(tmp_path / "keys.json")
    call(
        "import", "--annotations", tmp_path / "png/masks/Annotations", "--key-frames", moved, "--out", tmp_path / "back"
    )
    assert content(tmp_path / "back") == content(run.path)


def test_a_data_set_gives_expressions_groups_and_order(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    expressions = {"2": {"exp": "the cat", "obj_id": "9"}, "1": {"exp": "a dog", "obj_id": "4"}}
    meta = {"videos": {video: {"expressions": expressions, "frames": NAMES} for video in ("aa", "bb")}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta_expressions.json").write_text(json.dumps(meta))
    result = call(
        "import", "--annotations", tmp_path / "png/masks", "--dataset", tmp_path / "data", "--out", tmp_path / "back"
    )
    assert result.exit_code == 0, result.output
    tracks = MaskRun.open(tmp_path / "back").read("bb").tracks
    assert [track.expression for track in tracks] == [
        Expression(id="2", text="the cat", group="9"),
        Expression(id="1", text="a dog", group="4"),
    ]
    assert tracks[1].masks == run.read("bb").track("1").masks
    assert "note" not in result.stderr


def test_what_of_a_data_set_has_no_masks_is_said(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    expressions = {name: {"exp": name, "obj_id": name} for name in ("1", "2", "3")}
    meta = {"videos": {video: {"expressions": expressions, "frames": NAMES} for video in ("aa", "bb", "cc")}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta_expressions.json").write_text(json.dumps(meta))
    result = call(
        "import", "--annotations", tmp_path / "png/masks", "--dataset", tmp_path / "data", "--out", tmp_path / "back"
    )
    assert result.exit_code == 0, result.output
    assert "note: 1 of 3 videos of the data set have no masks: cc" in result.stderr
    assert "note: 2 videos lack masks of some expressions: aa, bb" in result.stderr


def test_videos_that_are_one_file_name_on_some_systems(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    shutil.copytree(tmp_path / "png/masks/Annotations/aa", tmp_path / "png/masks/Annotations/AA")
    result = call("import", "--annotations", tmp_path / "png/masks", "--out", tmp_path / "back")
    assert result.exit_code == 2
    assert "one file name on some systems" in result.stderr
    assert not (tmp_path / "back").exists()


def test_a_bad_image_leaves_nothing_behind(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    bad = tmp_path / "png/masks/Annotations" / "bb" / "2" / "00010.png"
    bad.write_bytes(b"no picture")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call("import", "--annotations", tmp_path / "png/masks", "--out", tmp_path / "back")
    assert result.exit_code == 2
    assert str(bad) in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_import_does_not_mix_into_what_is_there(run, tmp_path):
    call("export", run.path, "--out", tmp_path / "png")
    result = call("import", "--annotations", tmp_path / "png/masks", "--out", run.path)
    assert result.exit_code == 2
    assert "new or empty folder" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "--out", "x"], "either --annotations FOLDER or --coco FILE"),
        (["import", "--out", "x", "--annotations", "a", "--coco", "b"], "either --annotations FOLDER or --coco FILE"),
        (["import", "--out", "x", "--coco", "b", "--key-frames", "k"], "--key-frames goes with --annotations"),
        (["import", "--out", "x", "--annotations", "absent"], "absent: expected a folder of PNG masks, found nothing"),
        (["export", "run", "--out", "x", "--format", "png,gif"], "--format: expected some of png, palette, coco,"),
        (["export", "run", "--out", "x", "--format", "png,rgba"], "rgba needs the frames: give --dataset ROOT or"),
        (["export", "absent", "--out", "x"], "absent: not a run"),
        (["show", "absent"], "absent: not a run"),
        (["check-dataset", "absent"], "absent: expected a data set's folder"),
    ],
)
def test_wrong_use_is_explained(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "x").exists()


def test_show_holds_one_mask_at_a_time(tmp_path):
    """Sixty masks in a small file, each of half a million runs."""
    stripes = np.zeros((1024, 1024), bool)
    stripes[::2] = True
    tracks = tuple(MaskTrack.from_masks(Expression(id=str(i)), stripes[None]) for i in range(60))
    run = MaskRun.create(tmp_path / "run", MANIFEST)
    run.write(VideoMasks(video="dog", size=stripes.shape, frame_names=("0",), tracks=tracks))
    del tracks
    tracemalloc.start()
    result = call("show", tmp_path / "run")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "60 masks, 0 of them empty" in result.stdout
    assert peak < 60 * 8 * stripes.size // 2 // 2  # half of what all run lengths take


def test_show_counts_what_is_there(run):
    result = call("show", run.path)
    assert '"producer": "test"' in result.stdout
    assert result.stdout.splitlines()[-1] == "2 videos, 4 expressions, 12 masks, 0 of them empty"


@pytest.fixture
def davis_mini():
    root = os.environ.get("RVOS_DATA")
    if not root:
        pytest.skip("RVOS_DATA is not set: no real data here")
    return Path(root) / "davis_mini"


def test_a_sound_data_set_has_no_faults(davis_mini):
    result = call("check-dataset", davis_mini)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("videos, no faults\n")


def test_every_fault_of_a_data_set_is_named(davis_mini, tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    shutil.copy(davis_mini / "meta_expressions.json", tmp_path)
    videos = list(json.loads((tmp_path / "meta_expressions.json").read_text())["videos"])
    for video in videos[1:]:
        shutil.copytree(davis_mini / "JPEGImages" / video, tmp_path / "JPEGImages" / video)
    missing, small = sorted((tmp_path / "JPEGImages" / videos[1]).iterdir())[3:5]
    missing.chmod(0o644)
    missing.unlink()
    small.chmod(0o644)
    Image.new("RGB", (8, 8)).save(small)
    result = call("check-dataset", tmp_path)
    assert result.exit_code == 1
    for fault in (videos[0], missing.stem, small.stem):
        assert fault in result.stdout
    assert f"{len(videos)} videos" in result.stdout


def test_real_masks_go_out_and_come_back(davis_mini, tmp_path):
    assert call("import", "--annotations", davis_mini / "Annotations", "--out", tmp_path / "run").exit_code == 0
    call("export", tmp_path / "run", "--out", tmp_path / "png", "--format", "palette")
    for file in sorted((davis_mini / "Annotations").rglob("*.png"))[::20]:
        there = np.array(Image.open(tmp_path / "png/palette/Annotations" / file.parent.name / file.name))
        assert np.array_equal(there, np.array(Image.open(file))), file
