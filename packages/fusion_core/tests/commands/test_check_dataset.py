"""`fusion-core check-dataset` finds what would fail later, and says equal things once."""

import json

import numpy as np
import pytest
from fusion_core.cli import app
from PIL import Image
from typer.testing import CliRunner

FRAMES = [f"{t:05d}" for t in range(30)]
VIDEOS = [f"v{number:02d}" for number in range(15)]


def check(*arguments):
    return CliRunner().invoke(app, ["check-dataset", *map(str, arguments)])


@pytest.fixture
def root(tmp_path):
    entry = {"frames": FRAMES, "expressions": {"0": {"exp": "a dog"}}}
    (tmp_path / "meta_expressions.json").write_text(json.dumps({"videos": dict.fromkeys(VIDEOS, entry)}))
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    for video in VIDEOS:
        folder = tmp_path / "JPEGImages" / video
        folder.mkdir(parents=True)
        for frame in FRAMES:
            Image.fromarray(pixels).save(folder / f"{frame}.jpg")
    return tmp_path


def test_half_a_picture_is_a_fault_except_to_a_quick_look(root):
    picture = root / "JPEGImages" / "v03" / "00007.jpg"
    picture.write_bytes(picture.read_bytes()[:-100])
    result = check(root)
    assert result.exit_code == 1
    kind, fault, total = result.stdout.splitlines()
    assert kind == "unreadable frame or video file (1)"
    assert str(picture) in fault
    assert total.endswith("15 videos, 1 faults")
    assert check(root, "--quick").exit_code == 0
    tree = json.loads(check(root, "--json").stdout)
    assert tree["videos"] == 15
    assert [(one["video"], one["frame"], one["kind"]) for one in tree["faults"]] == [("v03", "00007", kind[:-4])]


def test_equal_faults_are_told_once(root):
    for frame in FRAMES[10:]:
        (root / "JPEGImages" / "v00" / f"{frame}.jpg").unlink()
    for video in VIDEOS[1:]:
        for picture in (root / "JPEGImages" / video).iterdir():
            picture.unlink()
        (root / "JPEGImages" / video).rmdir()
    result = check(root, "--quick")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 15
    assert lines[0] == "no folder of frames (14)"
    assert lines[11] == "    and the same in 4 more videos: v11, v12, v13, v14"
    assert lines[12] == "missing frame (20)"
    assert "frame '00010' is missing" in lines[13]
    assert lines[13].endswith(f"(the same in {', '.join(FRAMES[11:])})")
    assert lines[14].endswith("15 videos, 34 faults")


def test_masks_are_compared_with_the_description(root):
    for video in VIDEOS:
        for folder in ("1", "2", "7", "8"):
            path = root / "Annotations" / video / folder / f"{FRAMES[0]}.png"
            path.parent.mkdir(parents=True)
            Image.new("L", (16, 16)).save(path)
    described = json.loads((root / "meta_expressions.json").read_text())
    for entry in described["videos"].values():
        entry["expressions"] = {"1": {"exp": "a dog"}, "2": {"exp": "it runs"}}
    (root / "meta_expressions.json").write_text(json.dumps(described))
    result = check(root)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "masks that do not fit the description (30)"
    assert lines[1].endswith("Annotations/v00/7 belongs to no expression (and 1 more)")
    assert check(root, "--quick").exit_code == 0


def test_objects_of_a_data_set_without_sentences(tmp_path):
    """SA-V: sound, then with a mask of a frame that is not there."""
    (frames := tmp_path / "sav_val" / "JPEGImages_24fps" / "sav_1").mkdir(parents=True)
    for frame in FRAMES[:3]:
        Image.new("RGB", (8, 6)).save(frames / f"{frame}.jpg")
    for name in ("000", "001"):
        (folder := tmp_path / "sav_val" / "Annotations_6fps" / "sav_1" / name).mkdir(parents=True)
        Image.new("L", (8, 6), 1).save(folder / f"{FRAMES[0]}.png")
    assert check(tmp_path).exit_code == 0, check(tmp_path).output
    Image.new("L", (8, 6), 1).save(folder / f"{FRAMES[9]}.png")
    result = check(tmp_path)
    assert result.exit_code == 1
    assert f"frame '{FRAMES[9]}'" in result.stdout
