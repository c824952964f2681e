"""MeViS from the data set as it is downloaded to scores and a submission, by commands."""

import json
import zipfile

import numpy as np
import pytest
from fusion_core.cli import app
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, encode_mask, open_dataset
from PIL import Image
from typer.testing import CliRunner

SIZE = (12, 16)
FRAMES = ("00000", "00001")
MASK = np.zeros(SIZE, bool)
MASK[2:6, 3:9] = True


def call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def mevis(tmp_path):
    """The data set, and a run that has one of two sentences right: nothing is meant by the other."""
    folder = tmp_path / "mevis" / "valid_u"
    (folder / "JPEGImages" / "dog").mkdir(parents=True)
    for frame in FRAMES:
        Image.new("RGB", SIZE[::-1]).save(folder / "JPEGImages" / "dog" / f"{frame}.jpg")
    expressions = {
        "0": {"exp": "the dog", "obj_id": [0], "anno_id": [7]},
        "1": {"exp": "a flying cat", "obj_id": [], "anno_id": []},
    }
    description = {"videos": {"dog": {"frames": list(FRAMES), "expressions": expressions}}}
    (folder / "meta_expressions_v2.json").write_text(json.dumps(description))
    lists = {"7": [{"size": list(SIZE), "counts": encode_mask(MASK).decode()}] * 2}
    (folder / "mask_dict.json").write_text(json.dumps(lists))
    dataset = open_dataset(folder.parent)
    run = MaskRun.create(tmp_path / "run", RunManifest(producer="test", producer_version="1", dataset=dataset.identity))
    tracks = tuple(MaskTrack.from_masks(one, [MASK] * 2) for one in dataset.videos["dog"].expressions)
    run.write(VideoMasks(video="dog", size=SIZE, frame_names=FRAMES, tracks=tracks))
    return folder.parent, run.path


def test_scores_with_the_masks_of_the_data_set(mevis):
    root, run = mevis
    result = call("evaluate", run, "--dataset", root, "--protocol", "mevis", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["measures"] == {"N-acc": 0, "T-acc": 1, "Final": 0.5}
    assert call("check-dataset", root).exit_code == 0
    assert "Final" in call("evaluate", run, "--dataset", root, "--protocol", "mevis").stdout
    assert call("evaluate", run).exit_code == 2, "neither annotations nor a data set"


def test_a_submission(mevis, tmp_path):
    root, run = mevis
    file = tmp_path / "x.zip"
    result = call("submit", run, "--dataset", root, "--for", "mevis", "--out", file)
    assert result.exit_code == 0, result.output
    assert "wrote 4 masks" in result.stdout
    assert zipfile.ZipFile(file).namelist()[0] == "dog/0/00000.png"
    assert call("check-submission", file, "--dataset", root, "--for", "mevis").exit_code == 0
    assert call("check-submission", file, "--dataset", root).exit_code == 1, "Ref-YouTube-VOS wants a folder above"
