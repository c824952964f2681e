"""`fusion-core view` with real networks: masks carried on with the bundled weights, a click with random ones."""

import time

import numpy as np
import pytest
from fusion_core.view.clicks import Clicks
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import Library, open_runs
from fusion_core.view.propagation import Propagation
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, decode_mask, encode_mask, open_dataset
from program_kit.prompts import Prompt

from tests.drawn import FRAMES, SIZE


def square(step):
    mask = np.zeros(SIZE, bool)
    mask[10:25, 5 + 9 * step : 20 + 9 * step] = True
    return mask


@pytest.fixture
def corrected(dataset, tmp_path):
    """Corrections of a run that has found nothing."""
    data = open_dataset(dataset)
    run = MaskRun.create(
        tmp_path / "runs" / "nothing", RunManifest(producer="test", producer_version="1", dataset=data.identity)
    )
    for video in data.videos.values():
        empty = np.zeros((len(FRAMES), *SIZE), bool)
        tracks = tuple(MaskTrack.from_masks(expression, empty) for expression in video.expressions)
        run.write(VideoMasks(video=video.id, size=SIZE, frame_names=video.frame_names, tracks=tracks))
    library = Library(dataset=data, runs=open_runs(tmp_path / "runs"), folder=tmp_path / "runs")
    with CorrectedRun(library) as corrected:
        yield corrected


def test_a_drawn_mask_is_carried_on_with_the_bundled_weights(corrected, dataset, tmp_path):
    counts = encode_mask(square(1))
    corrected.begin()
    corrections = corrected.corrections(0)
    corrections.draw(0, 1, counts, corrections.frame_revision(0, 1))
    with Propagation(corrected, ("--dataset", str(dataset)), {"aot-propagate": ("aot-propagate",)}) as propagation:
        for _ in range(2):  # the second time the program is there already
            job = propagation.start(0, 0, 0, 3, "aot-propagate")
            deadline = time.monotonic() + 600
            while job.state == "running":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert (job.state, job.text) == ("done", "2 frames from 1 drawn masks"), job.text
            assert job.changed == (0, 3)
    corrected.save()
    track = MaskRun.open(corrected.path).read("aa11").tracks[0]
    assert track.masks[1] == counts
    assert track.key_frame == 1
    assert corrections.kind(0, 0) == corrections.kind(0, 2) == "propagate"
    for step in (0, 2):
        both = (track.mask(step) & square(step)).sum()
        assert both > 0.5 * (track.mask(step) | square(step)).sum(), "the red square was lost"


def test_a_click_is_answered_by_the_network(corrected, dataset):
    command = ("sam2-propagate", "--config", "tiny", "--weights", "random:0", "--device", "cpu")
    with Clicks(corrected, ("--dataset", str(dataset)), command) as clicks:
        clicks.problem = None  # random weights are weights
        masks = [
            decode_mask(clicks.mask(0, prompt), SIZE)
            for prompt in (
                Prompt(frame=2, points=((30, 17), (5, 40)), labels=(1, 0)),
                Prompt(frame=1, box=(14, 10, 29, 25)),
                Prompt(frame=2, points=((30, 17), (5, 40)), labels=(1, 0)),
            )
        ]
    np.testing.assert_array_equal(masks[0], masks[2])
    assert not (corrected.path / "videos").exists()
