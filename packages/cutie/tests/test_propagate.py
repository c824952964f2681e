"""The procedure around the network: order of work, sharing, directions, memory, errors."""

import gc
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from cutie import model, propagate
from cutie.config import CONFIGS
from cutie.errors import ConfigError
from cutie.model import Cutie
from cutie.preprocess import NetworkView
from cutie.propagate import Propagator
from cutie.settings import LongTerm, MemoryPolicy, PropagationSettings
from golden_cases import NETWORK, assert_close, find_cases, rounding
from golden_cases.torch.fake_gpu import on_fake_gpu
from program_kit import prepared_frames
from program_kit.errors import InputError
from program_kit.frame_reading import FeatureCache
from program_kit.prepared_frames import EncodedFrames
from program_kit.propagator import Job
from program_kit.torch.checkpoint.model_checkpoints import Unallocated
from program_kit.torch.precision import set_precision

from .published import load

SIZE = (60, 92)
QUICK = PropagationSettings(memory=MemoryPolicy(gap=2, frames=3))
SHORT = LongTerm(most_frames=3, least_frames=2, prototypes=4, most_tokens=20, spare_tokens=4)
LONG = PropagationSettings(memory=MemoryPolicy(gap=1, long_term=SHORT))


@cache
def network():
    """A miniature with golden weights: its masks depend visibly on what it remembers."""
    (case,) = [c for c in find_cases("", local=Path(__file__).parent / "goldens") if c.name == "network"]
    return load(case)


class DrawnVideo:
    """Bright squares that move over noise; counts what is read."""

    size = SIZE

    def __init__(self, frames=6):
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 60, (frames, *SIZE, 3), dtype=np.uint8)
        for t in range(frames):
            self.pixels[t, 10:34, 8 + 4 * t : 32 + 4 * t] += np.array([150, 20, 60], np.uint8)
        self.reads = 0

    def __len__(self):
        return len(self.pixels)

    def read_frame(self, i):
        self.reads += 1
        return self.pixels[i]

    def frames(self, start=0):
        for i in range(start, len(self)):
            self.reads += 1
            yield self.pixels[i]


class Part(DrawnVideo):
    """Some frames of that video."""

    def __init__(self, start, stop):
        super().__init__()
        self.pixels = self.pixels[start:stop]


def square(frame, ids=(1,)):
    labels = np.zeros(SIZE, np.uint8)
    for index, object_id in enumerate(ids):
        labels[10 + 6 * index : 34, 8 + 4 * frame + 6 * index : 32 + 4 * frame] = object_id
    return labels


def run(propagator, video, jobs):
    """Background probabilities [T, H, W] and numbers of every job, at the key frame 2 and 255."""
    numbers = np.full((len(jobs), len(video), *SIZE), 255, np.uint8)
    background = np.full((len(jobs), len(video), *SIZE), 2, np.float32)
    for result in propagator.propagate(video, jobs):
        assert (numbers[result.job, result.frame] == 255).all(), "a frame came twice"
        numbers[result.job, result.frame] = result.numbers
        background[result.job, result.frame] = result.probabilities[0]
    return background, numbers


def assert_same(one, other):
    """Equal but for the rounding of a network that hands its results on from frame to frame."""
    np.testing.assert_allclose(one, other, rtol=0, atol=rounding(np.log(1e7), NETWORK * 6) / 4)


@pytest.mark.parametrize("settings", [QUICK, LONG], ids=["working", "long-term"])
def test_jobs_together_equal_jobs_alone(settings):
    """Key frames in the middle, first and last; three jobs share one; one job has two objects."""
    jobs = [Job(2, square(2)), Job(0, square(0)), Job(5, square(5)), Job(2, square(2, (4, 9))), Job(2, square(1))]
    together, numbers = run(Propagator(network(), settings), DrawnVideo(), jobs)
    for index, job in enumerate(jobs):
        alone, _ = run(Propagator(network(), settings), DrawnVideo(), [job])
        assert_same(together[index], alone[0])
    assert len(np.unique(numbers)) > 3, "the masks of this test must not be empty"


def test_small_batches_and_chunks_change_nothing(monkeypatch):
    jobs = [Job(k, square(k, ids)) for k, ids in ((1, (1,)), (1, (2, 3)), (4, (1,)))]
    expected, _ = run(Propagator(network(), QUICK), DrawnVideo(), jobs)
    monkeypatch.setattr(model, "CHUNK", 1)
    found, _ = run(Propagator(network(), QUICK, batch=1), DrawnVideo(), jobs)
    assert_same(found, expected)


def test_frames_are_encoded_once_for_all_jobs(monkeypatch):
    encoded = []
    net = network()
    monkeypatch.setattr(net, "encode", lambda image, encode=net.encode: encoded.append(1) or encode(image))
    video = DrawnVideo()
    run(Propagator(net, QUICK), video, [Job(k, square(k)) for k in (1, 2, 2, 4)])
    assert len(encoded) == len(video)
    assert video.reads == len(video)


@pytest.mark.parametrize("key_frame", [0, 3, 5])
def test_of_one_key_frame_only_that_frame_is_kept(key_frame, monkeypatch):
    """No other frame is seen in both directions."""
    kept = []

    class Watched(FeatureCache):
        def drop(self, key):
            super().drop(key)
            kept.append(list(self._kept))

    monkeypatch.setattr(prepared_frames, "FeatureCache", Watched)
    run(Propagator(network(), QUICK), DrawnVideo(), [Job(key_frame, square(key_frame))])
    assert all(frames in ([], [key_frame]) for frames in kept)


def test_results_do_not_depend_on_the_cache():
    jobs = [Job(1, square(1)), Job(4, square(4))]
    kept, _ = run(Propagator(network(), QUICK), DrawnVideo(), jobs)
    none = DrawnVideo()
    again, _ = run(Propagator(network(), QUICK, cache_bytes=0), none, jobs)
    np.testing.assert_array_equal(kept, again)
    assert none.reads > len(none)


def test_directions_know_nothing_of_one_another():
    """Frames before the key frame come out as if the video ended there; frames after it as if it began there."""
    whole, _ = run(Propagator(network(), QUICK), DrawnVideo(), [Job(3, square(3))])
    before, _ = run(Propagator(network(), QUICK), Part(0, 4), [Job(3, square(3))])
    after, _ = run(Propagator(network(), QUICK), Part(3, 6), [Job(0, square(3))])
    np.testing.assert_array_equal(whole[0, :3], before[0, :3])
    np.testing.assert_array_equal(whole[0, 4:], after[0, 1:])


def test_later_frames_depend_on_what_is_remembered():
    jobs = [Job(0, square(0))]
    often, _ = run(Propagator(network(), replace(QUICK, memory=MemoryPolicy(gap=1))), DrawnVideo(), jobs)
    never, _ = run(Propagator(network(), replace(QUICK, memory=MemoryPolicy(gap=99))), DrawnVideo(), jobs)
    np.testing.assert_array_equal(often[:, :2], never[:, :2])
    assert np.abs(often[:, 2:] - never[:, 2:]).max() > 1e-3


def test_objects_of_a_job_compete():
    (found,) = Propagator(network(), QUICK).propagate(Part(0, 2), [Job(0, square(0, (4, 9)))])
    assert found.ids == (4, 9)
    assert_close(found.probabilities.sum(dim=0), torch.ones(SIZE))
    assert not (found.mask(4) & found.mask(9)).any()
    np.testing.assert_array_equal(found.mask(), found.mask(4) | found.mask(9))
    assert_close(found.probability(), found.probability(4) + found.probability(9))
    assert found.presence(4) is None


def test_half_precision_stays_near():
    jobs = [Job(0, square(0))]
    exact, _ = run(Propagator(network(), QUICK), Part(0, 3), jobs)
    half, _ = run(Propagator(deepcopy(network()), QUICK, precision="bfloat16"), Part(0, 3), jobs)
    assert np.isfinite(half).all()
    assert np.abs(half - exact).mean() < 0.05


def test_a_mask_that_vanishes_when_shrunk_is_background():
    labels = np.zeros(SIZE, np.uint8)
    labels[1, 1] = 1
    small = PropagationSettings(short_side=16)
    found, numbers = run(Propagator(deepcopy(network()), small), DrawnVideo(), [Job(0, labels)])
    assert np.isfinite(found).all()
    assert set(np.unique(numbers[:, 1:])) <= {0, 1}


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job(6, square(0)), "key frame 6 is not in the video"),
        (Job(0, np.zeros(SIZE, np.uint8)), "is empty"),
        (Job(0, np.ones((3, 4), np.uint8)), "3 x 4"),
        (Job(0, np.arange(SIZE[0] * SIZE[1]).reshape(SIZE)), "5519 objects, at most 255"),
    ],
)
def test_jobs_that_do_not_fit_are_refused_before_any_work(job, message):
    video = DrawnVideo()
    with pytest.raises(InputError, match=message):
        next(Propagator(network(), QUICK).propagate(video, [Job(0, square(0)), job]))
    assert video.reads == 0


def test_an_empty_batch_is_refused():
    with pytest.raises(ConfigError, match="batch is at least 1 object, not 0"):
        Propagator(network(), QUICK, batch=0)


@pytest.mark.parametrize("settings", [QUICK, LONG], ids=["working", "long-term"])
def test_what_is_held_does_not_grow_with_the_video(settings):
    """Neither tensors nor arrays, in either direction."""

    def held():
        found = (thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, np.ndarray))
        return sum(thing.nbytes for thing in found)

    windows = [(range(50, 60), range(80, 90)), (range(30, 40), range(10))]  # early and late in a direction
    watched = {frame for pair in windows for window in pair for frame in window}
    found = Propagator(network(), settings).propagate(DrawnVideo(90), [Job(45, square(0))])
    sizes = {result.frame: held() for result in found if result.frame in watched}
    for early, late in windows:
        assert max(sizes[frame] for frame in late) <= max(sizes[frame] for frame in early)


def both_ways(settings, video, job):
    """Background probabilities [H, W] by frame and reference."""
    results = list(Propagator(network(), settings).propagate(video, [job]))
    found = {(result.frame, result.reference): result.probabilities[0].numpy() for result in results}
    assert len(found) == len(results), "a frame came twice the same way"
    return found


@pytest.mark.parametrize("settings", [QUICK, LONG], ids=["working", "long-term"])
def test_between_references_masks_come_from_both(settings):
    found = both_ways(settings, DrawnVideo(), Job(1, square(1), {4: square(4)}))
    assert set(found) == {(0, 1), (2, 1), (3, 1), (2, 4), (3, 4), (5, 4)}
    alone = both_ways(settings, DrawnVideo(), Job(1, square(1)))
    assert (found[2, 1] != alone[2, 1]).any(), "the reference ahead is not remembered"
    assert (found[0, 1] != alone[0, 1]).any(), "the reference behind is not remembered"


def test_references_together_equal_references_alone():
    jobs = [Job(1, square(1), {4: square(4)}), Job(4, square(4, (4, 9)), {1: square(1, (9,))}), Job(0, square(0))]
    results = Propagator(network(), QUICK).propagate(DrawnVideo(), jobs)
    together = {(result.job, result.frame, result.reference): result.probabilities[0].numpy() for result in results}
    for index, job in enumerate(jobs):
        for place, expected in both_ways(QUICK, DrawnVideo(), job).items():
            assert_same(together.pop((index, *place)), expected)
    assert not together


def test_a_reference_is_gone_on_from_as_from_a_first_one():
    """Where no other frame is remembered, what lies before the last reference leaves no trace."""
    video, settings = DrawnVideo(8), PropagationSettings(memory=MemoryPolicy(gap=9))
    three = Job(0, square(0), {3: square(3), 5: square(5)})
    found = both_ways(settings, video, three)
    video.pixels[1:3] = 0
    changed = both_ways(settings, video, three)
    for place in found:
        assert np.array_equal(found[place], changed[place]) == (place[0] > 2), place


def test_references_need_memory():
    sizes = []

    def held(references):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(propagate, "check_objects", lambda *_, each, **__: sizes.append(each))
            Propagator(network(), QUICK).check_memory(SIZE, [1], references)
        return sizes[-1]

    assert held(1) < held(2) < held(5)
    assert held(5) - held(1) == pytest.approx(4 * (held(2) - held(1)))


def test_the_next_video_is_read_ahead():
    video, job = DrawnVideo(), Job(3, square(3))
    expected, _ = run(Propagator(network(), QUICK), DrawnVideo(), [job])
    propagator = Propagator(network(), QUICK)
    propagator.expect(lambda: (video, 3))
    found, _ = run(propagator, video, [job])
    np.testing.assert_array_equal(found, expected)
    assert video.reads == len(video)


@pytest.mark.parametrize("settings", [QUICK, LONG], ids=["working", "long-term"])
@pytest.mark.parametrize(
    ("name", "precision"), [("tiny", "strict"), ("tiny", "bfloat16"), ("base", "strict"), ("small", "strict")]
)
def test_a_gpu_never_waits_for_a_sweep(name, precision, settings):
    """Shrunk frames; two groups, one of them with two tasks and two references."""
    with Unallocated():
        net = Cutie(CONFIGS[name]).eval()
    set_precision(net, precision)
    settings = replace(settings, short_side=50)
    view = NetworkView(SIZE, settings.short_side)

    def segment(gpu):
        def task(job, objects, *frames):
            masks = torch.empty(objects, *view.padded, dtype=torch.bool, device=gpu)
            return propagate._Task(job, tuple(range(1, 1 + objects)), dict.fromkeys(frames, masks))

        groups = [propagate._Group((0,), [task(0, 3, 0)])]
        groups.append(propagate._Group((1, 3), [task(1, 1, 1, 3), task(2, 2, 1, 3)]))
        pixels = torch.empty(*SIZE, 3, dtype=torch.uint8, device=gpu)
        video = DrawnVideo(9)
        frames = EncodedFrames(video, 2**30, lambda _: net.encode(view.normalised(pixels)))
        return list(Propagator(net, settings)._sweep(groups, frames, range(len(video)), [], view))

    found = on_fake_gpu(net, segment)
    assert [(of_group.frame, len(of_group.tasks)) for of_group in found[-2:]] == [(8, 1), (8, 2)]
    assert [own.shape for own in found[-1].probabilities] == [(2, *SIZE), (3, *SIZE)]
