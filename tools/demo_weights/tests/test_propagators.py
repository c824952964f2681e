"""AOT and DeAOT: small enough, scored from ground truth, stages as data."""

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("aot_deaot") is None:
    pytest.skip("aot_deaot is not installed beside this tool", allow_module_level=True)

from aot_deaot.bundled import BUNDLED
from aot_deaot.config import named_config
from aot_deaot.network import PropagationNetwork
from aot_deaot.predict import AOTPropagator
from demo_weights.propagators import first_masks_run
from demo_weights.real_frames import propagate_first_masks, score_real_frames
from demo_weights.shipping import LARGEST
from demo_weights.stages import STAGES, is_propagator
from demo_weights.training import shipped, split_of
from mask_interchange import MaskRun
from rvos_synthetic import write_dataset
from rvos_training.data.object_presence import read_labels

PROPAGATORS = [model for model in STAGES if is_propagator(model)]


@pytest.mark.parametrize("model", PROPAGATORS)
def test_what_propagators_ship_is_small_enough(model):
    network = PropagationNetwork(named_config(model, shipped(model).config))
    assert 2 * sum(entry.numel() for entry in network.state_dict().values()) < LARGEST
    assert shipped(model) == BUNDLED[model]


def test_propagators_are_scored_from_true_masks(tmp_path):
    write_dataset(tmp_path / "data", "test", 2, size=(48, 80), frames=6)
    run = MaskRun.open(first_masks_run(tmp_path / "data", "test", tmp_path / "masks"))
    truth = split_of(tmp_path / "data", "test")
    assert run.videos() == list(truth.dataset.videos)
    for name, video in truth.dataset.videos.items():
        labels = np.stack([read_labels(truth.annotations, video, frame) for frame in range(6)])
        for track in run.read(name).tracks:
            shown = (labels == int(track.expression.group)).any(axis=(1, 2))
            assert track.key_frame == shown.argmax()
            np.testing.assert_array_equal(
                track.mask(track.key_frame), labels[track.key_frame] == int(track.expression.group)
            )
            assert sum(track.mask(frame).any() for frame in range(6)) == 1
    first_masks_run(tmp_path / "data", "test", tmp_path / "masks")  # again, nothing to do


def test_true_first_masks_are_carried_through_videos_without_expressions(tmp_path):
    write_dataset(tmp_path, "test", 1, size=(48, 80), frames=4)
    run = propagate_first_masks(AOTPropagator.load(seed=0, config="demo"), "aot", tmp_path / "test", tmp_path / "run")
    found = score_real_frames(run, tmp_path / "test")
    (video,) = found.videos
    first = read_labels(tmp_path / "test" / "Annotations", split_of(tmp_path, "test").dataset.videos[video.video], 0)
    tracks = run.read(video.video).tracks
    assert [int(track.expression.id) for track in tracks] == [label for label in np.unique(first) if label]
    for track in tracks:
        np.testing.assert_array_equal(track.mask(0), first == int(track.expression.id))
    assert all(len(target.frames) == 2 for target in video.targets), "neither the first frame nor the last"
    propagate_first_masks(None, "aot", tmp_path / "test", tmp_path / "run")  # again, nothing to do


@pytest.mark.parametrize("model", PROPAGATORS)
def test_stages_of_propagators_are_training_configurations(model):
    for stage in STAGES[model]:
        config = stage.train_config(share=0.5, seed=3)
        assert config.samples * config.epochs == stage.samples // 2
        assert config.optimisation.total_epochs == config.epochs
