"""Files: readable by mask_interchange, complete or absent, continued after an interruption."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import evaluate_run
from rvos_evaluation.protocols import Protocol
from rvos_synthetic import SyntheticError, render_video, write_dataset

SIZE, FRAMES = (48, 80), 3


def write(root: Path, split: str = "train", count: int = 3, **settings):
    write_dataset(root, split, count, **({"size": SIZE, "frames": FRAMES} | settings))


def contents(root: Path) -> dict[str, str]:
    """Hash of every file."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write(root)
    write(root, "valid", 2)
    return root


@pytest.mark.parametrize(("split", "count"), [("train", 3), ("valid", 2)])
def test_mask_interchange_reads_the_videos(written, split, count):
    dataset = open_dataset(written, split)
    assert dataset.check() == []
    assert list(dataset.videos) == [f"{split}_{index:06d}" for index in range(count)]
    for index, video in enumerate(dataset.videos.values()):
        rendered = render_video(split, index, size=SIZE, frames=FRAMES)
        assert video.frame_names == rendered.frame_names
        assert (np.stack(list(video.frames())) == rendered.frames).all()
        assert [e.id for e in video.expressions] == [str(k) for k in range(len(rendered.expressions))]
        assert [(e.text, e.group) for e in video.expressions] == [(e.text, str(e.label)) for e in rendered.expressions]


def test_ground_truth_scores_one_and_other_masks_do_not(written, tmp_path):
    """The annotations match the expressions of the data set, by the project's own scores."""
    dataset = open_dataset(written, "valid")
    annotations = open_annotations(written / "valid")
    scores = []
    for name, other in (("true", 0), ("wrong", 1)):
        manifest = RunManifest(producer="test", producer_version="0", settings={}, dataset=dataset.identity)
        run = MaskRun.create(tmp_path / name, manifest)
        for index, video in enumerate(dataset.videos.values()):
            rendered = render_video("valid", index, size=SIZE, frames=FRAMES)
            objects = len(rendered.scene.objects)
            tracks = tuple(
                MaskTrack.from_masks(e, rendered.labels == (int(e.group) - 1 + other) % objects + 1)
                for e in video.expressions
            )
            run.write(VideoMasks(video=video.id, size=SIZE, frame_names=video.frame_names, tracks=tracks))
        evaluation = evaluate_run(run, annotations, Protocol.RVOS, dataset)
        assert len(evaluation.targets) == sum(len(video.expressions) for video in dataset.videos.values())
        scores.append(evaluation.overall.jf)
    assert scores[0] == 1
    assert scores[1] < 0.3


def test_annotations_are_palette_images_of_the_labels(written):
    for index in range(3):
        rendered = render_video("train", index, size=SIZE, frames=FRAMES)
        for name, labels in zip(rendered.frame_names, rendered.labels, strict=True):
            with Image.open(written / f"train/Annotations/{rendered.name}/{name}.png") as image:
                assert image.mode == "P"
                assert (np.asarray(image) == labels).all()
                colours = np.array(image.getpalette()).reshape(-1, 3)[: labels.max() + 1]
                assert len(np.unique(colours, axis=0)) == labels.max() + 1


def test_meta_names_the_frames_that_show_an_object(written):
    videos = json.loads((written / "train/meta.json").read_text())["videos"]
    for index in range(3):
        rendered = render_video("train", index, size=SIZE, frames=FRAMES)
        objects = videos[rendered.name]["objects"]
        assert list(objects) == [str(item.label) for item in rendered.scene.objects]
        for item, visible in zip(rendered.scene.objects, rendered.visible, strict=True):
            frames = [name for name, seen in zip(rendered.frame_names, visible, strict=True) if seen]
            assert objects[str(item.label)] == {"category": item.look.shape, "frames": frames}


@pytest.mark.parametrize("after", [0, 1, 2])
def test_interrupted_work_continues_to_the_same_files(tmp_path, written, after):
    class StoppedError(Exception):
        pass

    def progress(done: int, count: int) -> None:
        if done == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        write(tmp_path, progress=progress)
    finished = [path.stat().st_mtime_ns for path in sorted((tmp_path / "train").glob("JPEGImages/*/*.png"))]
    assert len(finished) == after * FRAMES
    write(tmp_path)
    kept = [path.stat().st_mtime_ns for path in sorted((tmp_path / "train").glob("JPEGImages/*/*.png"))]
    assert kept[: len(finished)] == finished
    assert contents(tmp_path / "train") == contents(written / "train")


@pytest.mark.parametrize("broken_off_at", range(1, 2 * FRAMES + 1))
def test_a_video_is_complete_or_absent(tmp_path, written, monkeypatch, broken_off_at):
    """Whichever image is the last one before a crash."""
    saved = []

    def save(image, *arguments, original=Image.Image.save, **settings):
        if len(saved) == broken_off_at - 1:
            raise OSError("no space left")
        saved.append(image)
        original(image, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        with pytest.raises(OSError, match="no space left"):
            write(tmp_path, count=1)
    assert not (tmp_path / "train/JPEGImages/train_000000").exists()
    write(tmp_path)
    assert contents(tmp_path) == {k: v for k, v in contents(written).items() if "valid" not in k}


def test_more_videos_may_be_asked_for_later(tmp_path, written):
    write(tmp_path, count=1)
    assert list(open_dataset(tmp_path, "train").videos) == ["train_000000"]
    write(tmp_path, count=3)
    assert contents(tmp_path / "train") == contents(written / "train")


def test_progress_is_reported(tmp_path):
    reported = []
    write(tmp_path, count=2, progress=lambda *numbers: reported.append(numbers))
    assert reported == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("settings", [{"size": (64, 80)}, {"frames": 4}])
def test_videos_with_other_settings_are_not_mixed(tmp_path, settings):
    write(tmp_path, count=1)
    before = contents(tmp_path)
    with pytest.raises(SyntheticError, match=r"expected videos with .*, found edition 1, split train, size \[48"):
        write(tmp_path, **settings)
    assert contents(tmp_path) == before


def test_fewer_videos_than_the_folder_holds(tmp_path):
    write(tmp_path, count=2)
    with pytest.raises(SyntheticError, match=r"train_000001: not one of the 1 videos asked for"):
        write(tmp_path, count=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/notes.txt").write_text("mine")
    with pytest.raises(SyntheticError, match="not of a synthetic data set"):
        write(tmp_path)
    assert contents(tmp_path).keys() == {"train/notes.txt"}


def test_a_broken_note_is_explained(tmp_path):
    write(tmp_path, count=1)
    (tmp_path / "train/synthetic.json").write_text("{")
    with pytest.raises(SyntheticError, match=r"synthetic.json: cannot be read"):
        write(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "at least 1, found 0"),
        ({"split": "../x"}, "split: expected"),
        ({"frames": 0}, "frames: expected"),
    ],
)
def test_nothing_is_written_for_wrong_arguments(tmp_path, settings, message):
    with pytest.raises(SyntheticError, match=message):
        write(tmp_path / "root", **settings)
    assert not (tmp_path / "root").exists()
