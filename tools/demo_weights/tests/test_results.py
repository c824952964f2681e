"""Tables and picture of the results: spread over videos, kinds of sentences, worth of scores."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from demo_weights.results import Step, page, picture, real_frames
from demo_weights.scene_facts import plan_of
from demo_weights.statistics import by_kind, gain, interval, jf_of_targets, spearman, worth_of_scores
from demo_weights.training import split_of
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import evaluate_run
from rvos_synthetic import write_dataset
from rvos_training.data.object_presence import read_labels

FRAMES = 4


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """Of the truth, whose scores tell nothing, and of masks that grow worse, whose scores tell so."""
    root = tmp_path_factory.mktemp("data")
    write_dataset(root, "test", 3, frames=FRAMES)
    truth = split_of(root, "test")
    found = []
    for name in ("right", "worse"):
        run = MaskRun.create(
            root / name, RunManifest(producer="test", producer_version="1", dataset=truth.dataset.identity)
        )
        for video in truth.dataset.videos.values():
            labels = np.stack([read_labels(truth.annotations, video, frame) for frame in range(FRAMES)])
            tracks = []
            for expression in video.expressions:
                masks = labels == int(expression.group)
                scores = np.zeros(FRAMES)
                if name == "worse":
                    for frame in range(FRAMES):
                        masks[frame, :, : 40 * frame] = False
                    scores = 1 - 0.2 * np.arange(FRAMES)
                tracks.append(MaskTrack.from_masks(expression, masks, scores=scores))
            run.write(VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks)))
        found.append(evaluate_run(run, open_annotations(truth.annotations), dataset=truth.dataset))
    return found


def test_the_interval_is_that_of_means_over_sampled_videos():
    videos = [np.array([50.0, 70.0]), np.array([20.0]), np.array([90.0, 80.0, 70.0])]
    found = interval(videos)
    assert found.value == pytest.approx(np.concatenate(videos).mean())
    assert 20 <= found.low < found.value < found.high <= 80
    same = interval([np.full(3, 40.0)] * 5)
    assert (same.value, same.low, same.high) == (40, 40, 40)
    assert str(same) == "40.0 (40.0 to 40.0)"


def test_gains_are_of_the_same_expressions(evaluations):
    right, worse = evaluations
    found = gain(right, worse)
    assert found.value == pytest.approx(100 * (worse.overall.jf - right.overall.jf))
    assert found.low <= found.value <= found.high < 0
    assert gain(right, right).low == gain(right, right).high == 0


def test_kinds_are_those_of_the_claims(evaluations):
    _, worse = evaluations
    kinds = by_kind(worse)
    claimed = {kind for video in worse.videos for e in plan_of(video.video)[1] for kind in e.claims}
    assert set(kinds) == claimed
    values = [
        value
        for video, jf in zip(worse.videos, jf_of_targets(worse), strict=True)
        for e, value in zip(plan_of(video.video)[1], jf, strict=True)
        if "colour" in e.claims
    ]
    assert kinds["colour"] == pytest.approx(np.mean(values))


def test_what_scores_are_worth(evaluations):
    right, worse = (worth_of_scores(one) for one in evaluations)
    assert right.correlation is None, "all scores are equal"
    assert right.key_frame == right.best_frame == pytest.approx(right.any_frame)
    assert worse.correlation > 0.5
    assert worse.overall > 0.3
    assert worse.key_frame > worse.any_frame
    assert worse.best_frame >= worse.key_frame


def test_correlation_of_ranks():
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(1)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 1.0])) == pytest.approx(-1)
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert spearman(np.array([np.nan, 1.0]), np.array([1.0, 2.0])) is None


def test_the_page_and_the_picture_hold_all_numbers(evaluations):
    right, worse = evaluations
    steps = [Step("best single member", "soc", worse), Step("+ stage 2 and DeAOT", "final", right)]
    text = page({"soc": worse, "aot": right}, ["aot"], steps, {"soc_agreed": worse}, {})
    assert text.count("| soc_agreed |") == 1
    assert "Not measured" in text
    assert "| aot | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in real_frames({"aot": right})
    assert f"| soc | {interval(jf_of_targets(worse))} | {100 * worse.overall.j:.1f} |" in text
    assert "| aot | 100.0 (100.0 to 100.0) |" in text
    added = gain(worse, right)
    assert f"| {added.value:+.1f} ({added.low:+.1f} to {added.high:+.1f}) |" in text
    assert text.count("| aot |") == 1, "a propagator has no sentences and no scores"
    svg = ET.fromstring(picture(steps))
    words = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("+ stage 2 and DeAOT") == 1
    assert f"{100 * worse.overall.jf:.1f}" in words
