"""The Python door: loading, and masks of a video."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cutie import CutiePropagator
from cutie.checkpoint import CHECKPOINTS
from cutie.config import BASE
from cutie.errors import ConfigError
from cutie.settings import MemoryPolicy, PropagationSettings
from golden_cases.readme import run_readme, write_clip
from mask_interchange import MaskTrack, VideoMasks, open_video
from mask_interchange.files import file_sha256
from PIL import Image
from program_kit.errors import CheckpointError, DeviceError, InputError, WeightsError
from program_kit.weights_folder import StoredFile, WeightsRecord

from .published import drawn_state

SIZE = (32, 48)
FRAMES = 4


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


def tiny(**arguments):
    return CutiePropagator.load(seed=0, config="tiny", device="cpu", **arguments)


def test_tracks_keep_their_key_frames(video):
    tracks = tuple(
        MaskTrack.from_masks(expression, [block(4 * t) for t in range(FRAMES)], key_frame=key_frame)
        for expression, key_frame in zip(video.expressions, (1, 2), strict=True)
    )
    given = VideoMasks(video=video.id, size=SIZE, frame_names=video.frame_names, tracks=tracks)
    progress = []
    found = tiny().propagate_tracks(video, given, lambda *step: progress.append(step))
    for before, after in zip(given.tracks, found.tracks, strict=True):
        assert after.masks[before.key_frame] == before.masks[before.key_frame]
        assert after.expression == before.expression
        assert after.scores is None
    assert found != given
    assert progress[-1] == (2 * (FRAMES - 1), 2 * (FRAMES - 1))


def test_objects_of_a_label_map_become_tracks(video):
    labels = np.zeros(SIZE, np.uint8)
    labels[2:12, 2:20], labels[16:30, 24:40] = 3, 7
    found = tiny().propagate_labels(video, labels, 2, soft_masks=24)
    assert found.expression_ids == ("3", "7")
    for track, object_id in zip(found.tracks, (3, 7), strict=True):
        np.testing.assert_array_equal(track.mask(2), labels == object_id)
        assert track.soft.shape == (FRAMES, 16, 24)
    assert not np.any([found.tracks[0].mask(t) & found.tracks[1].mask(t) for t in range(FRAMES)])


def test_many_objects(video):
    labels = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 8 % 200).astype(np.uint8)
    found = tiny().propagate_labels(video, labels)
    assert len(found.tracks) == 192 - 1


def test_weights_of_a_file_and_of_a_seed(tmp_path):
    path = tmp_path / "own.safetensors"
    CHECKPOINTS.save(path, CHECKPOINTS.random("tiny", 0), "tiny")
    loaded, seeded = CutiePropagator.load(str(path), config="tiny", device="cpu"), tiny()
    assert torch.equal(loaded.network.pixels.weight, seeded.network.pixels.weight)
    assert not loaded.network.training


def test_settings_are_taken(tmp_path):
    settings = PropagationSettings(memory=MemoryPolicy(gap=2))
    propagator = tiny(settings=settings, batch=2, precision="bfloat16")
    assert (propagator.settings, propagator.batch) == (settings, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"checkpoint": "absent.pth"}, WeightsError, "absent.pth: no such file"),
        ({"checkpoint": __file__, "seed": 0}, WeightsError, "either --checkpoint"),
        ({"config": "huge"}, WeightsError, "expected one of base, small, tiny"),
        ({"checkpoint": __file__}, CheckpointError, "not a checkpoint"),
        ({"seed": 0, "config": "tiny", "batch": 0}, ConfigError, "batch"),
        ({"seed": 0, "config": "tiny", "device": "cuda:99"}, DeviceError, "device cuda:99: "),
    ],
)
def test_what_cannot_be_loaded(arguments, error, message):
    with pytest.raises(error, match=message):
        CutiePropagator.load(**arguments)


def test_without_weights_the_way_to_get_them_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="fusion-core weights fetch cutie-base-mega"):
        CutiePropagator.load()


def test_a_label_map_of_another_size_is_refused(video):
    with pytest.raises(InputError, match="4 x 5"):
        tiny().propagate_labels(video, np.ones((4, 5), np.uint8))


def test_the_readme_code_runs(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    labels = np.zeros((48, 64), np.uint8)
    labels[16:32, 0:16] = 1
    Image.fromarray(labels).save(tmp_path / "first.png")
    torch.save(drawn_state("base"), tmp_path / "cutie-base-mega.pth")  # stands for the published file
    variables = run_readme(Path(__file__).parents[1] / "README.md", tmp_path)
    assert variables["masks"].track("1").mask(3).shape == (48, 64)
    assert variables["again"].frame_names == variables["masks"].frame_names


def test_published_weights_in_the_users_folder_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    folder, file = tmp_path / "cutie-base-mega", "cutie-base-mega.pth"
    folder.mkdir()
    torch.save(drawn_state("base"), folder / file)
    known = StoredFile(size=(folder / file).stat().st_size, sha256=file_sha256(folder / file))
    WeightsRecord(source="test", files={file: known}, loads=file).write(folder)
    assert CutiePropagator.load(device="cpu").network.config == BASE
