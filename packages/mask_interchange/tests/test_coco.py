"""Masks out to COCO and YouTube-VIS JSON and back, the same; what others write is read, whatever it is."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import DatasetError, Expression, encode_mask, export_coco, export_youtube_vis, import_coco
from pycocotools import mask as coco
from pycocotools.coco import COCO

GOOD = {"video_id": "v", "expression_id": "0", "segmentations": [{"size": [1, 2], "counts": "11"}]}
IMAGE = {"id": 1, "file_name": "v/a.jpg", "width": 2, "height": 1}
MARK = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [1, 2], "counts": "11"}}
VIDEO = {"id": 1, "file_names": ["v/a.jpg"], "width": 2, "height": 1}
TRACK = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [{"size": [1, 2], "counts": "11"}]}


def written(path, value):
    path.write_text(json.dumps(value))
    return path


def test_coco_is_what_pycocotools_reads(masks, make_run, disjoint, tmp_path):
    run = make_run(tmp_path / "run", masks, disjoint())
    export_coco(run, tmp_path / "coco.json")
    opened = COCO(tmp_path / "coco.json")
    assert [category["name"] for category in opened.loadCats(opened.getCatIds())] == [
        "a dog → running",
        "3",
        "7",
    ], "no category for an expression without any mask"
    for video in (masks, disjoint()):
        for t, frame in enumerate(video.frame_names):
            (image,) = (i for i in opened.imgs.values() if i["file_name"] == f"{video.video}/{frame}.jpg")
            assert (image["height"], image["width"], image["frame_id"]) == (*video.size, t)
            found = {a["attributes"]["expression_id"]: a for a in opened.imgToAnns[image["id"]]}
            expected = {track.expression.id: track for track in video.tracks if track.mask(t).any()}
            assert found.keys() == expected.keys()
            for name, track in expected.items():
                mask = opened.annToMask(found[name])
                np.testing.assert_array_equal(mask, track.mask(t))
                rows, columns = np.nonzero(mask)
                x, y, width, height = found[name]["bbox"]
                assert (x, y, x + width, y + height) == (*_first(columns, rows), columns.max() + 1, rows.max() + 1)
                assert found[name]["area"] == mask.sum()
                assert found[name].get("score") == (None if track.scores is None else track.scores[t])
    assert len({a["track_id"] for a in opened.anns.values()}) == 3
    dog, pair = import_coco(tmp_path / "coco.json")
    track = masks.tracks[0]
    assert dog.tracks == (replace(track, scores=None, key_frame=None, support=None, soft=None),)
    assert [t.masks for t in pair.tracks] == [t.masks for t in disjoint().tracks]
    assert [t.expression for t in pair.tracks] == [t.expression for t in disjoint().tracks]


def _first(*axes):
    return tuple(axis.min() for axis in axes)


def test_youtube_vis_round_trip(masks, make_run, disjoint, tmp_path):
    run = make_run(tmp_path / "run", masks, disjoint())
    export_youtube_vis(run, tmp_path / "vis.json")
    kept = tuple(replace(track, support=None, soft=None) for track in masks.tracks)
    assert list(import_coco(tmp_path / "vis.json")) == [replace(masks, tracks=kept), disjoint()]
    tree = json.loads((tmp_path / "vis.json").read_text())
    track = next(one for one in tree["annotations"] if one["expression_id"] == "0")
    np.testing.assert_array_equal(
        np.stack([coco.decode(one) for one in track["segmentations"]]), masks.tracks[0].stack()
    )
    assert track["areas"] == [int(mask.sum()) for mask in masks.tracks[0].stack()]
    empty = next(one for one in tree["annotations"] if one["expression_id"] == "left one")
    assert empty["segmentations"] == empty["bboxes"] == empty["areas"] == [None] * 4
    export_youtube_vis(run, tmp_path / "one.json", ["pair"])
    assert list(import_coco(tmp_path / "one.json")) == [disjoint()]


def test_youtube_vis_of_others(tmp_path):
    """As the benchmark's truth: no names, run lengths as lists, categories of objects."""
    tree = {
        "videos": [{"id": 9, "width": 3, "height": 2, "length": 2, "file_names": ["00f8/00000.jpg", "00f8/00005.jpg"]}],
        "categories": [{"id": 4, "name": "a person"}],
        "annotations": [
            {"id": 31, "video_id": 9, "category_id": 4, "segmentations": [None, {"size": [2, 3], "counts": [1, 5]}]},
            {"id": 32, "video_id": 9, "category_id": 4, "segmentations": [None, None]},
        ],
    }
    (video,) = import_coco(written(tmp_path / "vis.json", tree))
    assert (video.video, video.frame_names, video.size) == ("00f8", ("00000", "00005"), (2, 3))
    assert [track.expression for track in video.tracks] == [
        Expression(id="31", text="a person"),
        Expression(id="32", text="a person"),
    ]
    assert [int(mask.sum()) for track in video.tracks for mask in track.stack()] == [0, 5, 0, 0]


def test_results_of_trackers(tmp_path):
    """Numbers as ids, no frame names, nothing where there is nothing, run lengths as a list with empty runs."""
    result = {
        "video_id": 12,
        "category_id": 1,
        "score": 0.5,
        "segmentations": [None, {"size": [2, 3], "counts": [1, 2, 0, 1, 2]}],
    }
    (video,) = import_coco(written(tmp_path / "coco.json", [result, {**result, "expression_id": 7}, result]))
    assert (video.video, video.frame_names, video.expression_ids) == ("12", ("00000", "00001"), ("0", "7", "2"))
    assert video.tracks[0].stack().astype(int).tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 1, 0]]]


def test_coco_of_annotation_tools(tmp_path):
    """Polygons, frames by name in natural order, no tracks: all of a category in an image are one mask."""
    square, beside = [1, 1, 4, 1, 4, 3, 1, 3], [5.0, 1, 6, 1, 6, 2, 5, 2]
    tree = {
        "images": [
            {"id": 5, "file_name": "clip/frame10.png", "width": 7, "height": 4},
            {"id": 3, "file_name": "clip/frame9.png", "width": 7, "height": 4},
            {"id": 4, "file_name": "other\\a.png", "width": 2, "height": 2},
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [square]},
            {"id": 2, "image_id": 5, "category_id": 1, "segmentation": [beside]},
        ],
    }
    clip, other = import_coco(written(tmp_path / "coco.json", tree))
    assert (clip.video, clip.frame_names) == ("clip", ("frame9", "frame10"))
    assert clip.tracks[0].expression == Expression(id="1", text="dog")
    expected = coco.decode(coco.merge(coco.frPyObjects([square, beside], 4, 7)))
    np.testing.assert_array_equal(clip.tracks[0].stack(), [np.zeros((4, 7)), expected])
    assert (other.video, other.tracks) == ("other", ())


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"instance_id": 7, "track_id": 8}, "7"),
        ({"track_id": 8, "attributes": {"track_id": 9}}, "8"),
        ({"attributes": {"track_id": 9, "occluded": False}}, "9"),
        ({"attributes": {"expression_id": "a b"}, "instance_id": 7}, "a b"),
        ({}, "1"),
    ],
)
def test_whatever_names_a_track(tmp_path, more, name):
    tree = {"images": [IMAGE], "annotations": [{**MARK, **more}]}
    (video,) = import_coco(written(tmp_path / "coco.json", tree))
    assert video.expression_ids == (name,)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12).filter(any))
def test_empty_runs_are_joined(tmp_path_factory, runs):
    """Without painting the mask: 5 MB of JSON could ask for hours of pixels."""
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)[None]
    path = tmp_path_factory.mktemp("coco") / "coco.json"
    size = list(mask.shape)
    (video,) = import_coco(written(path, [{**GOOD, "segmentations": [{"size": size, "counts": runs}]}]))
    assert video.tracks[0].masks == (encode_mask(mask),)


def test_a_small_json_cannot_ask_for_many_pixels(tmp_path):
    segmentation = {"size": [8192, 8192], "counts": [0, 2**26]}
    path = written(tmp_path / "coco.json", [{**GOOD, "segmentations": [segmentation] * 300}])
    tracemalloc.start()
    try:
        (video,) = import_coco(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert len(video.frame_names) == 300


def test_images_times_tracks_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("mask_interchange.coco.MOST_MASKS", 5)
    images = [{**IMAGE, "id": i, "file_name": f"v/{i}.jpg"} for i in range(3)]
    tree = {"images": images, "annotations": [{**MARK, "instance_id": i} for i in range(2)]}
    with pytest.raises(DatasetError, match="at most 5 masks, found 2 tracks of 3 frames"):
        list(import_coco(written(tmp_path / "coco.json", tree)))


@pytest.mark.parametrize(
    ("polygons", "words"),
    [
        ([], "found an empty list"),
        ([[]], r"segmentation\[0\]: expected x and y of at least three corners"),
        ([[0, 0, 1, 1]], "at least three corners"),
        ([[0, 0, 1, 1, 2]], "at least three corners"),
        ([[0, 0, 1, 1, "2", 2]], "at least three corners"),
        ([[0, 0, 1, 1, True, 2]], "at least three corners"),
        ([7], "expected a list, found a whole number"),
        ([[0, 0, 1, 1, 10**9, 2]], "expected corners in 2x1 pixels"),
        ([[0, 0, 1, 1, 10**400, 2]], "annotations"),
        ([[0, 0, 1, 1, float("nan"), 2]], "expected corners in 2x1 pixels"),
        ([[0, 0, 2, 1] * 50], "at most 14 pixels of outline, found 200"),
    ],
)
def test_bad_polygons(tmp_path, polygons, words):
    tree = {"images": [IMAGE], "annotations": [{**MARK, "segmentation": polygons}]}
    with pytest.raises(DatasetError, match=words):
        list(import_coco(written(tmp_path / "coco.json", tree)))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({}, "expected `images` .COCO. or `videos` .YouTube-VIS., found neither"),
        (3, "expected an object"),
        ([3], r"\[0\]: expected an object"),
        ([{}], r"\[0\].video_id: expected text, found no such key"),
        ([{**GOOD, "video_id": "../x"}], "contains '/'"),
        ([{**GOOD, "video_id": True}], "found true or false"),
        ([{**GOOD, "segmentations": []}], "tells the size"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": "1"}]}], "fill 1x2 pixels"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [3, -1]}]}], "fill 1x2 pixels"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [[2]]}]}], "expected whole numbers"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [0.5, 1.5]}]}], "expected whole numbers"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [2**63]}]}], "at most 64 bits, found a larger one"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [2**62] * 4 + [2]}]}], "fill 1x2 pixels"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": [2**80]}]}], "counts"),
        ([{**GOOD, "segmentations": [{"size": [1, 2], "counts": "ö"}]}], "counts: mask 0"),
        ([{**GOOD, "segmentations": [{"size": [1, 2]}]}], "counts: expected a list, found no such key"),
        ([{**GOOD, "segmentations": [{"size": [10**9, 2], "counts": "11"}]}], "height, width"),
        ([{**GOOD, "segmentations": [{"size": [2], "counts": "11"}]}], "height, width"),
        ([{**GOOD, "scores": ["a"]}], r"\[0\]: "),
        ([{**GOOD, "file_names": ["a", "b"]}], "expected 2 masks, found 1"),
        ([{**GOOD, "file_names": ["a/b"]}], "contains '/'"),
        ([GOOD, GOOD], "'0' again"),
        ([GOOD, {**GOOD, "expression_id": 1, "file_names": ["x"]}], "frames of the video's first entry"),
        ({"images": [IMAGE]}, "annotations: expected a list, found no such key"),
        ({"images": [IMAGE, IMAGE], "annotations": []}, r"images\[1\]: expected a new id, found 1 again"),
        ({"images": [{**IMAGE, "file_name": "../a.jpg"}], "annotations": []}, "begins with a dot"),
        ({"images": [{**IMAGE, "width": 10**9}], "annotations": []}, "height, width"),
        ({"images": [IMAGE, {**IMAGE, "id": 2}], "annotations": []}, "frame id once, found 'a' again"),
        (
            {"images": [IMAGE, {**IMAGE, "id": 2, "file_name": "v/b.jpg", "width": 3}], "annotations": []},
            "expected 2x1 pixels as in frame 'a', found 3x1 in frame 'b'",
        ),
        ({"images": [IMAGE], "annotations": [{**MARK, "image_id": 2}]}, "found another image_id"),
        ({"images": [IMAGE], "annotations": [{**MARK, "segmentation": None}]}, "expected run lengths or polygons"),
        (
            {"images": [IMAGE], "annotations": [{**MARK, "segmentation": {"size": [2, 1], "counts": "11"}}]},
            r"expected the size \[1, 2\] of the image, found \[2, 1\]",
        ),
        (
            {
                "images": [IMAGE],
                "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
                "annotations": [{**MARK, "instance_id": 3}, {**MARK, "instance_id": 3, "category_id": 2}],
            },
            "expected the category and group of track '3' before",
        ),
        ({"videos": [VIDEO], "annotations": [{**TRACK, "video_id": 2}]}, "found another video_id"),
        ({"videos": [VIDEO], "annotations": [{**TRACK, "segmentations": []}]}, "1 segmentations, one a frame, found 0"),
        ({"videos": [{**VIDEO, "width": 3}], "annotations": [TRACK]}, "expected masks of 3x1 pixels, found 2x1"),
        ({"videos": [{**VIDEO, "file_names": []}], "annotations": []}, "expected at least one frame, found none"),
        ({"videos": [{**VIDEO, "name": "a/b"}], "annotations": [TRACK]}, "contains '/'"),
    ],
)
def test_bad_coco(tmp_path, results, words):
    with pytest.raises(DatasetError, match=words):
        list(import_coco(written(tmp_path / "coco.json", results)))
