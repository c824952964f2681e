"""RefCOCO and gRefCOCO from files of the published form, and pickles that are not what they say."""

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.conversion import CONVERSIONS
from fusion_core.conversion.plain_pickle import read_plain_pickle
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import DatasetError, MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from PIL import Image, ImageDraw
from pycocotools import mask as outlines
from rvos_evaluation.annotations import open_truth
from rvos_evaluation.evaluation import evaluate_run
from rvos_evaluation.protocols import Protocol
from typer.testing import CliRunner

HEIGHT, WIDTH = 24, 32
SQUARE = [[4.0, 4.0, 12.0, 4.0, 12.0, 12.0, 4.0, 12.0]]
CROWD = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 20, HEIGHT * 2, HEIGHT * 10]}


def ref(split, ann_id, *texts, image=9, first=0):
    sentences = [
        {"sent_id": first + k, "sent": text, "raw": text.upper(), "tokens": text.split()}
        for k, text in enumerate(texts)
    ]
    return {
        "ref_id": first,
        "ann_id": ann_id,
        "image_id": image,
        "split": split,
        "category_id": 1,
        "file_name": f"COCO_train2014_{image}_{ann_id}.jpg",  # not the name of the image, as in the real file
        "sentences": sentences,
        "sent_ids": [one["sent_id"] for one in sentences],
    }


REFS = [ref("train", 77, "left man", "the man"), ref("testA", 78, "crowd", first=2)]
GREFS = [ref("val", [77, 78], "both"), ref("val", [-1], "no one", first=1), ref("val", [77], "one", first=2)]


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "train2014"
    folder.mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "COCO_train2014_000000000009.jpg")
    return folder


def write(root: Path, refs, name="refs(unc).p", protocol=2):
    root.mkdir(parents=True, exist_ok=True)
    image = {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": HEIGHT, "width": WIDTH}
    shared = {"image_id": 9, "category_id": 1}
    annotations = [
        shared | {"id": 77, "iscrowd": 0, "segmentation": SQUARE, "area": 64, "bbox": [4, 4, 8, 8]},
        shared | {"id": 78, "iscrowd": 1, "segmentation": CROWD, "area": 48, "bbox": [20, 0, 2, 24]},
    ]
    tree = {"info": {}, "licenses": [], "categories": [{"id": 1, "name": "person"}]}
    (root / "instances.json").write_text(json.dumps(tree | {"images": [image], "annotations": annotations}))
    if name.endswith(".p"):
        (root / name).write_bytes(pickle.dumps(refs, protocol))
    else:
        (root / name).write_text(json.dumps(refs))


def convert(root, out, *options):
    return CliRunner().invoke(app, ["convert-dataset", str(root), "--out", str(out), *map(str, options)])


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_refcoco_for_training(tmp_path, protocol):
    root, out = tmp_path / "refcoco", tmp_path / "coco" / "refcoco"
    write(root, REFS, protocol=protocol)
    result = convert(root, out)
    assert result.exit_code == 0, result.output
    train = json.loads((out / "instances_refcoco_train.json").read_text())
    assert [(one["id"], one["caption"], one["original_id"]) for one in train["images"]] == [
        (1, "left man", 9),
        (2, "the man", 9),
    ]
    assert {one["file_name"] for one in train["images"]} == {"COCO_train2014_000000000009.jpg"}
    assert [(one["image_id"], one["original_id"], one["segmentation"]) for one in train["annotations"]] == [
        (1, 77, SQUARE),
        (2, 77, SQUARE),
    ]
    assert train["categories"] == [{"id": 1, "name": "person"}]
    assert (out / "instances_refcoco_testA.json").is_file()
    said = json.loads((out / "conversion.json").read_text())
    assert (said["videos"], said["expressions"], said["masks"], said["nothing"]) == (1, 3, 3, 0)
    assert said["sources"].keys() == {"refs(unc).p", "instances.json"}
    assert not list(tmp_path.glob("**/JPEGImages"))


def test_grefcoco_to_predict_and_score(tmp_path, images):
    root, out = tmp_path / "grefcoco", tmp_path / "out"
    write(root, GREFS, "grefs(unc).json")
    result = convert(root, out, "--images", images)
    assert result.exit_code == 0, result.output
    assert "1 videos or images, 3 sentences (1 mean nothing), 2 masks" in result.output
    training = json.loads((out / "instances_grefcoco_val.json").read_text())
    assert [one["image_id"] for one in training["annotations"]] == [1, 1, 3], "two, none and one object"
    dataset = open_dataset(out / "val")
    assert dataset.check() == []
    [video] = dataset.videos
    masks = outlines.decode(outlines.frPyObjects(SQUARE, HEIGHT, WIDTH))[:, :, 0].astype(bool)
    drawn = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(drawn).rectangle((4, 4, 11, 11), fill=1)
    assert np.array_equal(masks, np.asarray(drawn)), "polygons are what they look like"
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[:, 20:22] = True
    found = dict(zip(("0", "1", "2"), (masks | crowd, np.zeros_like(masks), masks), strict=True))
    run = MaskRun.create(tmp_path / "run", RunManifest(producer="x", producer_version="1", dataset=dataset.identity))
    expressions = dataset.videos[video].expressions
    tracks = tuple(MaskTrack.from_masks(one, found[one.id][None]) for one in expressions)
    run.write(VideoMasks(video=video, size=(HEIGHT, WIDTH), frame_names=("00000",), tracks=tracks))
    scores = evaluate_run(run, open_truth(dataset), Protocol.REFCOCO, dataset)
    assert set(scores.measures.values()) == {1.0}
    assert {"gIoU", "cIoU", "N-acc", "T-acc", "P@0.9"} <= scores.measures.keys()


def test_divisions_are_chosen(tmp_path):
    root = tmp_path / "refcocog"
    write(root, REFS, "refs(google).p")
    write(root, REFS[:1], "refs(umd).p")
    assert convert(root, tmp_path / "usual").exit_code == 0
    assert not (tmp_path / "usual" / "instances_refcocog_testA.json").exists()
    assert convert(root, tmp_path / "google", "--partition", "google").exit_code == 0
    assert (tmp_path / "google" / "instances_refcocog_testA.json").exists()
    result = convert(root, tmp_path / "other", "--partition", "unc")
    assert (result.exit_code, "no division 'unc', only google, umd" in result.stderr) == (2, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("refs", "words"),
    [
        ([ref("val", 99, "a")], "expected an object of image 9 in instances.json, found 99"),
        ([ref("val", 77, "a", image=8)], "expected an image of instances.json, found 8"),
        ([ref("../val", 77, "a")], "split id '../val'"),
        ([ref("val", None, "a")], "ann_id: expected a whole number, found null"),
        ([], "expected references to objects, found none"),
        ({"a": 1}, "expected a list, found an object"),
    ],
)
def test_faulty_references(tmp_path, refs, words):
    write(tmp_path / "refcoco", refs)
    result = convert(tmp_path / "refcoco", tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("outline", [[], [[1, 2, 3, 4]], [[0, 0, 1e12, 0, 1, 1]], [["a"] * 6], [[float("nan")] * 6], 7])
def test_faulty_outlines(tmp_path, images, outline):
    root = tmp_path / "refcoco"
    write(root, REFS)
    tree = json.loads((root / "instances.json").read_text())
    tree["annotations"][0]["segmentation"] = outline
    (root / "instances.json").write_text(json.dumps(tree))
    result = convert(root, tmp_path / "out", "--images", images)
    assert result.exit_code == 2
    assert "annotations.0.segmentation: " in result.stderr


def test_a_folder_of_another_name_or_content(tmp_path):
    write(tmp_path / "something", REFS)
    assert "expected a folder called refcoco" in convert(tmp_path / "something", tmp_path / "out").stderr
    (tmp_path / "empty").mkdir()
    result = convert(tmp_path / "empty", tmp_path / "out")
    assert result.exit_code == 2
    for one in CONVERSIONS:
        assert one.name in result.stderr


# --- pickles ----------------------------------------------------------------------------------------------------------


class _RunsCode:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_code_runs_nothing(tmp_path, protocol):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([{"split": _RunsCode(str(tmp_path / "made"))}], protocol))
    with pytest.raises(DatasetError, match=r"refs\.p: expected numbers, .* which may run code; nothing was run"):
        read_plain_pickle(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2])[:-3],
        b"\x80\x02]r\xff\xff\xff\x7f.",  # stores under 2^31 - 1: a table of 16 GB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes, of which there are none
        b"\x80\x02\x8a\xff" + b"\x01" * 3,  # half a number
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02Q.",
        b"\x80\x02\x82\x01.",
        b"]]s.",
        b"(.",
    ],
)
def test_damaged_pickles(tmp_path, data):
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"refs\.p: "):
        read_plain_pickle(path)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=PLAIN, protocol=st.integers(0, 4))
def test_plain_values_come_back(tmp_path_factory, value, protocol):
    path = tmp_path_factory.mktemp("pickle") / "refs.p"
    path.write_bytes(pickle.dumps(value, protocol))
    assert read_plain_pickle(path) == value


@given(junk=st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("pickle") / "refs.p"
    path.write_bytes(b"\x80\x02" + junk)
    with suppress(DatasetError):
        read_plain_pickle(path)
