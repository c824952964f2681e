"""FiftyOne and datumaro open exports as docs/formats.md says, and find the masks and sentences of the run."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import MaskRun

from tests.programs import ROOT

QUIET = {
    "FIFTYONE_DO_NOT_TRACK": "true",
    "FIFTYONE_DATABASE_VALIDATION": "false",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
}


def starts_here() -> bool:
    """Whether FiftyOne's MongoDB finds the libraries that it needs of the system."""
    programs = Path(sys.prefix).glob("lib/python3*/site-packages/fiftyone/db/bin/mongod")
    return any(subprocess.run([program, "--version"], capture_output=True).returncode == 0 for program in programs)


@pytest.fixture
def opened(exported, monkeypatch, tmp_path):
    """Runs the code that the page has for a library, in the folder of the export; returns its variables."""
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    monkeypatch.chdir(exported)
    for name, value in {**QUIET, "FIFTYONE_DATABASE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)

    def run_code(library):
        blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        (code,) = (block for block in blocks if f"import {library}" in block)
        variables = {}
        exec(code, variables)
        return variables

    return run_code


def expected(run: MaskRun) -> dict[str, list[tuple[str, np.ndarray]]]:
    """What a form for images has: the masks that are not empty with their sentences, by the name of the image."""
    return {
        f"{video}/{frame}": [(track.expression.text, mask) for track in masks.tracks if (mask := track.mask(t)).any()]
        for video in run.videos()
        for masks in [run.read(video)]
        for t, frame in enumerate(masks.frame_names)
    }


def ordered(found):
    return sorted(found, key=lambda entry: (entry[0], entry[1].tobytes()))


def assert_equal(found, run):
    wanted = expected(run)
    assert found.keys() == wanted.keys()
    for name, masks in wanted.items():
        for (text, mask), (found_text, found_mask) in zip(ordered(masks), ordered(found[name]), strict=True):
            assert text == found_text
            np.testing.assert_array_equal(mask, found_mask)


def whole(size, box, mask):
    """A mask of the frame from that of its box, in fractions of the frame; without one the box is full."""
    painted = np.zeros(size, bool)
    left, top, width, height = np.round(np.multiply(box, [size[1], size[0]] * 2)).astype(int)
    mask = np.ones((height, width), bool) if mask is None else mask
    painted[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return painted


def by_image(dataset, size):
    """The detections of a data set of FiftyOne with their sentences as whole masks."""
    return {
        "/".join(sample.filepath.removesuffix(".jpg").split("/")[-2:]): [
            (one.label, whole(size, one.bounding_box, one.mask)) for one in sample.ground_truth.detections
        ]
        for sample in dataset
    }


@pytest.mark.skipif(not starts_here(), reason="FiftyOne's MongoDB does not start here: it needs OpenSSL 3 and curl")
def test_fiftyone(opened, run):
    variables = opened("fiftyone")
    size = run.read(run.videos()[0]).size
    assert_equal(by_image(variables["dataset"], size), run)
    scores = {one.confidence for sample in variables["dataset"] for one in sample.ground_truth.detections}
    assert scores == {0.25, 0.5, 0.75}
    tracks = {one.track_id for sample in variables["dataset"] for one in sample.ground_truth.detections}
    assert len(tracks) == 10  # the empty one is nowhere

    outlines = by_image(variables["outlines"], size)
    for name, masks in expected(run).items():
        assert {text for text, _ in outlines[name]} == {text for text, _ in masks}
        off = np.any([mask for _, mask in masks], axis=0) ^ np.any([mask for _, mask in outlines[name]], axis=0)
        assert off.mean() < 0.05  # edges move by up to a pixel
        ((_, dot),) = (entry for entry in outlines[name] if entry[0] == "a red dot")  # too thin for an outline: a box
        assert np.argwhere(dot).tolist() == [[size[0] - 1, size[1] - 1]]


def test_datumaro_for_cvat(opened, exported, run):
    dataset = opened("datumaro")["dataset"]
    sentences = [label.name for label in next(iter(dataset.categories().values())).items]
    found = {item.id: [(sentences[one.label], one.image.astype(bool)) for one in item.annotations] for item in dataset}
    assert_equal(found, run)

    written = {}
    for image in ET.parse(exported / "cvat" / "default.xml").getroot().iter("image"):
        size = int(image.get("height")), int(image.get("width"))
        masks = []
        for mask in image:
            assert (mask.tag, mask.get("width"), mask.get("height")) == ("mask", str(size[1]), str(size[0]))
            lengths = list(map(int, mask.get("rle").split(",")))
            painted = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size)
            masks.append((mask.get("label"), painted))
        written[image.get("name").removesuffix(".jpg")] = masks
        assert (exported / "cvat" / "images" / image.get("name")).exists()
    assert_equal(written, run)
