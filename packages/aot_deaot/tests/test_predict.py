"""The Python doors: loading, and masks of a video."""

from pathlib import Path

import numpy as np
import pytest
import torch
from aot_deaot import AOTPropagator, DeAOTPropagator
from aot_deaot.checkpoint import CHECKPOINTS
from aot_deaot.config import named_config
from aot_deaot.errors import ConfigError
from aot_deaot.settings import faithful
from golden_cases.readme import run_readme, write_clip
from golden_cases.torch.loading import RandomNumbers, slow_imports
from mask_interchange import MaskTrack, VideoMasks, open_video
from PIL import Image
from program_kit.errors import CheckpointError, DeviceError, InputError, WeightsError

SIZE = (32, 48)
FRAMES = 4
DOORS = [("aot", AOTPropagator), ("deaot", DeAOTPropagator)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "clip"
    folder.mkdir()
    for t in range(FRAMES):
        pixels = np.random.default_rng(t).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{t:05d}.png")
    return open_video(folder, ["one", "two"]).videos["clip"]


def block(start):
    mask = np.zeros(SIZE, bool)
    mask[8:24, start : start + 16] = True
    return mask


@pytest.mark.parametrize(("family", "door"), DOORS)
def test_tracks_keep_their_key_frames(video, family, door):
    tracks = tuple(
        MaskTrack.from_masks(expression, [block(4 * t) for t in range(FRAMES)], key_frame=key_frame)
        for expression, key_frame in zip(video.expressions, (1, 2), strict=True)
    )
    given = VideoMasks(video=video.id, size=SIZE, frame_names=video.frame_names, tracks=tracks)
    progress = []
    propagator = door.load(seed=0, config="tiny", device="cpu")
    found = propagator.propagate_tracks(video, given, lambda *step: progress.append(step))
    for before, after in zip(given.tracks, found.tracks, strict=True):
        assert after.masks[before.key_frame] == before.masks[before.key_frame]
        assert after.expression == before.expression
    assert found != given
    assert progress[-1] == (2 * (FRAMES - 1), 2 * (FRAMES - 1))


@pytest.mark.parametrize(("family", "door"), DOORS)
def test_loading_draws_no_random_numbers(family, door):
    with RandomNumbers() as numbers:
        door.load(device="cpu")
    assert numbers.drawn == 0


def test_loading_imports_nothing_slow():
    assert slow_imports("from aot_deaot import AOTPropagator\nAOTPropagator.load(device='cpu')") == []


@pytest.mark.parametrize(("family", "door"), DOORS)
def test_objects_of_a_label_map_become_tracks(video, family, door):
    labels = np.zeros(SIZE, np.uint8)
    labels[2:12, 2:20], labels[16:30, 24:40] = 3, 7
    found = door.load(seed=0, config="tiny", device="cpu").propagate_labels(video, labels, 2, soft_masks=24)
    assert found.expression_ids == ("3", "7")
    for track, object_id in zip(found.tracks, (3, 7), strict=True):
        np.testing.assert_array_equal(track.mask(2), labels == object_id)
        assert track.soft.shape == (FRAMES, 16, 24)
    overlap = [found.tracks[0].mask(t) & found.tracks[1].mask(t) for t in range(FRAMES)]
    assert not np.any(overlap)


@pytest.mark.parametrize(("family", "door"), DOORS)
def test_weights_of_a_file_of_a_seed_and_bundled_ones(tmp_path, family, door):
    path = tmp_path / "own.safetensors"
    CHECKPOINTS[family].save(path, CHECKPOINTS[family].random("tiny", 5), "tiny")

    def weights(propagator):
        return propagator.network.projector.weight

    seeded = door.load(seed=5, config="tiny")
    torch.testing.assert_close(weights(door.load(str(path), config="tiny")), weights(seeded), rtol=0, atol=0)
    assert door.load(device="cpu").network.config == named_config(family, "demo")
    assert seeded.network.config.family == door.family == family
    assert not seeded.network.training


def test_settings_follow_from_the_configuration():
    propagator = AOTPropagator.load(seed=0, config="tiny", settings=faithful, batch=2, precision="bfloat16")
    assert propagator.settings == faithful(named_config("aot", "tiny"))
    assert propagator.batch == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"checkpoint": "absent.pth"}, WeightsError, "absent.pth: no such file"),
        ({"checkpoint": __file__, "seed": 0}, WeightsError, "either --checkpoint"),
        ({"config": "huge"}, WeightsError, "expected one of swinl_aotl"),
        ({"checkpoint": __file__}, CheckpointError, "not a checkpoint"),
        ({"seed": 0, "config": "tiny", "batch": 0}, ConfigError, "batch"),
        ({"seed": 0, "config": "tiny", "device": "cuda:99"}, DeviceError, "device cuda:99: "),
    ],
)
def test_what_cannot_be_loaded(arguments, error, message):
    with pytest.raises(error, match=message):
        AOTPropagator.load(**arguments)


def test_a_label_map_of_another_size_is_refused(video):
    with pytest.raises(InputError, match="4 x 5"):
        AOTPropagator.load(seed=0, config="tiny").propagate_labels(video, np.ones((4, 5), np.uint8))


def test_the_readme_code_runs(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    labels = np.zeros((48, 64), np.uint8)
    labels[16:32, 0:16] = 1
    Image.fromarray(labels).save(tmp_path / "first.png")
    variables = run_readme(Path(__file__).parents[1] / "README.md", tmp_path)
    assert variables["masks"].track("1").mask(3).shape == (48, 64)
    assert variables["again"].frame_names == variables["masks"].frame_names
