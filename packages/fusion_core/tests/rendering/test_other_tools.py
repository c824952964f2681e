"""Exports are opened by the tools that they are meant for."""

import json

import numpy as np
import pytest
import supervision as sv
from fusion_core.cli import app
from mask_interchange import MaskRun, open_dataset
from rerun.chunk import RrdReader
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    forms = "coco,youtube-vis,images,yolo,pascal,rerun"
    arguments = ["export", str(world.runs / "a"), "--format", forms, "--dataset", str(world.dataset), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out


def test_everything_is_where_the_pages_say(exported):
    names = ["coco.json", "data.yaml", "images", "labels", "pascal", "rerun", "youtube_vis.json"]
    assert sorted(path.name for path in exported.iterdir()) == names


def union(detections, size):
    return np.zeros(size, bool) if not len(detections) else detections.mask.any(axis=0)


def check(opened: sv.DetectionDataset, world, pixels_off: float):
    """Every image has the masks of its frame; outlines may be off by `pixels_off` of each contour's pixels."""
    run, dataset = MaskRun.open(world.runs / "a"), open_dataset(world.dataset)
    seen = 0
    for path, image, found in opened:
        *_, video, name = path.split("/")
        masks = run.read(video)
        t = masks.frame_names.index(name.removesuffix(".jpg"))
        assert image.shape == (*masks.size, 3)
        assert np.abs(image[..., ::-1].astype(int) - dataset.videos[video].read_frame(t)).mean() < 6
        stack = np.stack([track.mask(t) for track in masks.tracks])
        off = union(found, masks.size) ^ stack.any(axis=0)
        assert off.sum() <= pixels_off * stack.any(axis=0).sum()
        assert {opened.classes[i] for i in found.class_id} == {
            track.expression.text for track in masks.tracks if track.mask(t).any()
        }
        seen += 1
    assert seen == sum(len(video) for video in dataset.videos.values())


def test_supervision_opens_coco(exported, world):
    opened = sv.DetectionDataset.from_coco(str(exported / "images"), str(exported / "coco.json"))
    check(opened, world, 0)


def test_supervision_opens_yolo(exported, world):
    parts = []
    for video in open_dataset(world.dataset).videos:
        folders = (str(exported / folder / video) for folder in ("images", "labels"))
        parts.append(sv.DetectionDataset.from_yolo(*folders, str(exported / "data.yaml"), force_masks=True))
    for part in parts:
        assert part.classes == parts[0].classes
    check(sv.DetectionDataset.merge(parts), world, 0.02)
    described = (exported / "data.yaml").read_text()
    assert "train: images" in described
    assert "val: images" in described
    assert "path:" not in described  # Ultralytics then looks beside the file, with `path: .` in its own folder


def test_supervision_opens_pascal(exported, world):
    parts = []
    for video in open_dataset(world.dataset).videos:
        folders = (str(exported / folder / video) for folder in ("images", "pascal"))
        parts.append(sv.DetectionDataset.from_pascal_voc(*folders, force_masks=True))
    check(sv.DetectionDataset.merge(parts), world, 0.02)


def test_coco_is_what_cvat_asks_for(exported):
    """Of "COCO 1.0" in CVAT: ids from 1, no empty masks, and tracks by two attributes."""
    tree = json.loads((exported / "coco.json").read_text())
    for key in ("images", "annotations", "categories"):
        assert [entry["id"] for entry in tree[key]] == list(range(1, len(tree[key]) + 1))
    for entry in tree["annotations"]:
        assert entry["area"] > 0
        assert entry["attributes"]["track_id"] > 0
        assert entry["attributes"]["keyframe"] is True


def recorded(path):
    """Columns by entity and whether they are static; an entity may come in several chunks."""
    found = {}
    for chunk in RrdReader(path).stream().to_chunks():
        batch = chunk.to_record_batch()
        columns = found.setdefault((chunk.entity_path, chunk.is_static), {})
        for name in batch.schema.names:
            if not name.endswith("time"):  # times of nanoseconds are no values of Python
                columns.setdefault(name, []).extend(batch.column(name).to_pylist())
    return found


def test_rerun_opens_recordings(exported, world):
    run = MaskRun.open(world.runs / "a")
    for video in run.videos():
        masks = run.read(video)
        found = recorded(exported / "rerun" / f"{video}.rrd")
        assert len(found["/video", False]["EncodedImage:blob"]) == len(masks.frame_names)
        for track in masks.tracks:
            name = track.expression.id
            ((_, described),) = found[f"/video/{name}", True]["AnnotationContext:context"][0]
            assert described["class_description"]["info"]["label"] == track.expression.text
            drawn = found[f"/video/{name}", False]
            assert sorted(drawn["frame"]) == list(range(len(track)))
            for t, (pixels,) in zip(drawn["frame"], drawn["SegmentationImage:buffer"], strict=True):
                np.testing.assert_array_equal(np.array(pixels, np.uint8).reshape(masks.size), track.mask(t))
            scores = found[f"/scores/{name}", False]
            expected = [track.scores[t] for t in scores["frame"]]
            assert np.ravel(scores["Scalars:scalars"]).tolist() == expected
