"""Masks out to folders of PNG images and back, the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mask_interchange import (
    DatasetError,
    Expression,
    MaskError,
    MaskTrack,
    RunError,
    VideoMasks,
    export_annotations,
    import_annotations,
    open_dataset,
)
from PIL import Image


def bare(masks: VideoMasks) -> VideoMasks:
    """What a PNG folder can hold: masks and key frames."""
    return replace(
        masks,
        tracks=tuple(
            MaskTrack(expression=Expression(id=t.expression.id), size=t.size, masks=t.masks, key_frame=t.key_frame)
            for t in masks.tracks
        ),
    )


def test_grey_round_trip(masks, tmp_path, make_run):
    run = make_run(tmp_path / "run", masks, replace(masks, video="v9"), replace(masks, video="v10"))
    export_annotations(run, tmp_path / "out")
    image = Image.open(tmp_path / "out/Annotations/dog/left one/00005.png")
    assert (image.mode, image.size) == ("L", (13, 9))
    assert [video.video for video in import_annotations(tmp_path / "out")] == ["dog", "v9", "v10"]
    again = next(import_annotations(tmp_path / "out"))
    assert again == bare(masks)
    assert json.loads((tmp_path / "out/key_frame.json").read_text())["dog"] == {"0": {"index_info": {"class_index": 1}}}
    other = tmp_path / "keys.json"
    other.write_text('{"dog": {"left one": {"index_info": {"class_index": 3, "more": 1}}}}')
    direct = next(import_annotations(tmp_path / "out/Annotations", key_frames=other))
    assert [track.key_frame for track in direct.tracks] == [None, 3]


@pytest.mark.parametrize("ids", [("3", "7"), ("0", "1"), ("the dog", "254")])
def test_palette_round_trip(tmp_path, ids, make_run, disjoint):
    video = disjoint(ids)
    gone = replace(
        video, video="nothing", tracks=(MaskTrack.from_masks(Expression(id="9"), np.zeros((2, 4, 6), bool)),)
    )
    run = make_run(tmp_path / "run", video, gone)
    export_annotations(run, tmp_path / "out", "palette")
    assert list(import_annotations(tmp_path / "out")) == [gone, video]
    with Image.open(tmp_path / "out/Annotations/pair/00000.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0], "the colours of DAVIS"
        assert set(np.unique(np.asarray(image))) == ({0, 3, 7} if ids == ("3", "7") else {0, 1, 2})


def test_palette_without_labels_file(tmp_path, make_run, disjoint):
    run = make_run(tmp_path / "run", disjoint())
    export_annotations(run, tmp_path / "out", "palette")
    (tmp_path / "out/labels.json").unlink()
    assert next(import_annotations(tmp_path / "out")) == disjoint()


def test_overlaps_do_not_fit_a_palette(masks, tmp_path, make_run):
    full = MaskTrack.from_masks(Expression(id="2"), np.ones((4, 9, 13), bool))
    run = make_run(tmp_path / "run", replace(masks, tracks=(masks.tracks[0], full)))
    with pytest.raises(MaskError, match="frame '00000': expression '2' overlaps another"):
        export_annotations(run, tmp_path / "out", "palette")


def test_old_images_are_not_mixed_with_new(masks, tmp_path, make_run):
    run = make_run(tmp_path / "run", masks)
    export_annotations(run, tmp_path / "out")
    with pytest.raises(RunError, match="new or empty folder"):
        export_annotations(run, tmp_path / "out")


def test_real_annotations(data, tmp_path, make_run):
    """DAVIS as released: palette images with the values 0 and 1."""
    videos = {video.video: video for video in import_annotations(data / "davis_mini/Annotations")}
    assert list(videos) == ["blackswan", "bmx-trees", "car-shadow", "dog", "horsejump-high", "libby"]
    dog = videos["dog"]
    assert (dog.size, len(dog.frame_names), dog.expression_ids) == ((480, 854), 60, ("1",))
    truth = np.asarray(Image.open(data / "davis_mini/Annotations/dog/00030.png"))
    np.testing.assert_array_equal(dog.track("1").mask(30), truth == 1)
    two = next(import_annotations(data / "davis_mini/predictions_two_objects"))
    assert two.expression_ids == ("1", "2")
    run = make_run(tmp_path / "run", two)
    export_annotations(run, tmp_path / "out", "palette")
    path = "horsejump-high/00007.png"
    before = Image.open(data / "davis_mini/predictions_two_objects" / path)
    after = Image.open(tmp_path / "out/Annotations" / path)
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    assert before.getpalette()[:9] == after.getpalette()[:9]


def test_sentences_come_from_the_dataset(masks, tmp_path, make_run):
    run = make_run(tmp_path / "run", masks)
    export_annotations(run, tmp_path / "out")
    expressions = {"left one": {"exp": "the left one", "obj_id": 5}, "0": {"exp": "a dog"}, "more": {"exp": "more"}}
    tree = {"videos": {"dog": {"frames": list(masks.frame_names), "expressions": expressions}}}
    path = tmp_path / "data/meta_expressions.json"
    path.parent.mkdir()
    path.write_text(json.dumps(tree))
    again = next(import_annotations(tmp_path / "out", dataset=open_dataset(path.parent)))
    assert [track.expression for track in again.tracks] == [
        Expression(id="left one", text="the left one", group="5"),
        Expression(id="0", text="a dog"),
    ]
    tree["videos"]["dog"]["frames"].pop()
    path.write_text(json.dumps(tree))
    with pytest.raises(
        DatasetError, match="expected the 3 frames of the data set, found 4: frame '00015' is only in the"
    ):
        next(import_annotations(tmp_path / "out", dataset=open_dataset(path.parent)))


def test_label_images_show_the_objects_that_sentences_mean(tmp_path):
    """Labels were taken for the ids of sentences, in silence."""
    objects = {"0": 2, "1": 1, "2": [1, 2], "3": [], "4": 7}
    expressions = {name: {"exp": f"sentence {name}", "obj_id": meant} for name, meant in objects.items()}
    tree = {"videos": {"dog": {"frames": ["0", "1"], "expressions": expressions}}}
    (tmp_path / "meta_expressions.json").write_text(json.dumps(tree))
    labels = np.array([[[0, 1, 2], [0, 0, 0]], [[2, 2, 0], [0, 0, 1]]], np.uint8)
    for t in range(2):
        save(tmp_path / f"masks/dog/{t}.png", labels[t])
    read = next(import_annotations(tmp_path / "masks", dataset=open_dataset(tmp_path)))
    assert read.expression_ids == tuple(objects)
    meant = {"0": labels == 2, "1": labels == 1, "2": labels > 0, "3": labels > 9, "4": labels > 9}
    for name, expected in meant.items():
        np.testing.assert_array_equal(read.track(name).stack(), expected)
    expressions["0"]["obj_id"] = "dog"
    (tmp_path / "meta_expressions.json").write_text(json.dumps(tree))
    with pytest.raises(DatasetError, match="expression '0' means object 'dog', which is no label from 1 to 254"):
        next(import_annotations(tmp_path / "masks", dataset=open_dataset(tmp_path)))


def save(path, values, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values), mode).save(path)


GREY = np.array([[0, 255]], np.uint8)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "expected <video>/<frame>.png"),
        ({"v/notes.txt": None}, "expected PNG images or a folder per expression, found neither"),
        ({"v/0/a.png": GREY, "v/a.png": GREY}, "found both"),
        (
            {"v/0/a.png": GREY, "v/1/b.png": GREY},
            "v: expected the same frames for every expression, found others: frame 'b' is only in '1'",
        ),
        ({"v/0/a.png": GREY, "v/1/a.png": GREY.T}, "expected 2x1 pixels as the images before, found 1x2"),
        ({"v/0/a.png": np.array([[0, 255, 128]], np.uint8)}, "values 0 and 255 only"),
        ({"v/0/a.png": np.zeros((2, 2, 3), np.uint8)}, "found mode RGB"),
        ({"v/a.png": np.array([[0, 1, 255]], np.uint8)}, "'do not score'"),
        ({"v/0/a.png": b"no picture"}, "not a JPEG or PNG image"),
        ({"v/0/notes.txt": None}, "expected PNG images, found none"),
    ],
)
def test_bad_folders(tmp_path, files, words):
    for name, values in files.items():
        if values is None or isinstance(values, bytes):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(values or b"")
        else:
            save(tmp_path / name, values)
    with pytest.raises(DatasetError, match=words):
        list(import_annotations(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected an object"),
        ('{"v": {"0": {"index_info": {}}}}', "v.0.index_info.class_index: expected a whole number"),
        ('{"v": {"0": {"index_info": {"class_index": true}}}}', "found true or false"),
        ('{"v": {"0": {"index_info": {"class_index": 9}}}}', "expected a frame from 0 to 0, found 9"),
        ('{"v": {"0": {"index_info": {"class_index": -1}}}}', "expected a frame from 0 to 0"),
    ],
)
def test_bad_key_frames(tmp_path, text, words):
    save(tmp_path / "Annotations/v/0/a.png", GREY)
    (tmp_path / "key_frame.json").write_text(text)
    with pytest.raises(DatasetError, match=words):
        list(import_annotations(tmp_path))


def test_grey_video_of_one_object(tmp_path):
    """A grey 0/255 image per frame, without a folder per expression: one object."""
    save(tmp_path / "v/a.png", GREY)
    assert next(import_annotations(tmp_path)).expression_ids == ("1",)


def test_the_folder_of_a_resolution_is_no_video(tmp_path):
    """DAVIS stands as `Annotations/480p/<video>/<frame>.png`."""
    save(tmp_path / "Annotations/480p/dog/00000.png", GREY)
    assert [masks.video for masks in import_annotations(tmp_path)] == ["dog"]
    save(tmp_path / "Annotations/Full-Resolution/dog/00000.png", GREY)
    with pytest.raises(DatasetError, match=r"several resolutions \(480p, Full-Resolution\)"):
        list(import_annotations(tmp_path))
