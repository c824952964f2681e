"""The procedure around the network: order of work, sharing, directions, switches, errors."""

from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from threading import Event, get_ident

import numpy as np
import pytest
import torch
from aot_deaot import frame_views, propagate
from aot_deaot.config import named_config
from aot_deaot.errors import ConfigError
from aot_deaot.frame_views import FrameViews
from aot_deaot.network import PropagationNetwork
from aot_deaot.objects import ObjectTable
from aot_deaot.preprocess import network_image
from aot_deaot.propagate import Propagator, SegmentedFrame
from aot_deaot.settings import MemoryPolicy, PropagationSettings, corrected, faithful
from golden_cases import NETWORK, assert_close, find_cases, rounding
from golden_cases.torch.fake_gpu import on_fake_gpu
from hypothesis import given, settings
from hypothesis import strategies as st
from program_kit.errors import InputError
from program_kit.propagator import Job
from program_kit.torch.checkpoint.model_checkpoints import Unallocated
from program_kit.torch.precision import set_precision

from .published import load, network_config

SIZE = (64, 96)
FAMILIES = ["aot", "deaot"]
GOLDENS = Path(__file__).parent / "goldens"


@cache
def network(family):
    """A miniature with golden weights: its masks depend visibly on what it remembers."""
    (case,) = [c for c in find_cases("", local=GOLDENS) if c.name == f"bidirectional_{family}"]
    return load(case, network_config(case.manifest["config"]))


@cache
def precise(family):
    """The same in float64. Batches round in their own way: in float32 that would now and then decide a pixel."""
    net = deepcopy(network(family)).double()
    net.encode = lambda image, encode=net.encode: encode(image.double())
    return net


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


def square(frame, ids=(1,)):
    labels = np.zeros(SIZE, np.uint8)
    for index, object_id in enumerate(ids):
        labels[10 + 6 * index : 34, 8 + 4 * frame + 6 * index : 32 + 4 * frame] = object_id
    return labels


def quick(family, **changes) -> PropagationSettings:
    base = corrected(network(family).config)
    return replace(base, scales=(1.0,), flip=False) if not changes else replace(base, **changes)


def run(propagator, video, jobs):
    """Numbers [T, H, W] for every job, -1 at the key frame; background probabilities beside them."""
    numbers = np.full((len(jobs), len(video), *SIZE), -1, np.int16)
    background = np.zeros((len(jobs), len(video), *SIZE), np.float32)
    for result in propagator.propagate(video, jobs):
        assert (numbers[result.job, result.frame] == -1).all(), "a frame came twice"
        numbers[result.job, result.frame] = result.numbers
        background[result.job, result.frame] = result.probabilities[0]
    return numbers, background


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("make", [corrected, faithful])
def test_jobs_together_equal_jobs_alone(family, make):
    """Key frames in the middle, first and last; two jobs share one; one job has two objects."""
    jobs = [Job(2, square(2)), Job(0, square(0)), Job(5, square(5)), Job(2, square(2, (4, 9))), Job(3, square(1))]
    chosen = replace(make(network(family).config), scales=(0.8, 1.0))
    together, probabilities = run(Propagator(precise(family), chosen, batch=8), DrawnVideo(), jobs)
    for index, job in enumerate(jobs):
        alone, expected = run(Propagator(precise(family), chosen, batch=1), DrawnVideo(), [job])
        np.testing.assert_array_equal(together[index], alone[0])
        assert_close(probabilities[index], expected[0])
    assert len(np.unique(together)) > 2, "the masks of this test must not be empty"


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_computed_once_for_all_jobs(family, monkeypatch):
    computed = []
    net = network(family)
    monkeypatch.setattr(net, "encode", lambda images, encode=net.encode: computed.append(len(images)) or encode(images))
    video = DrawnVideo()
    settings = quick(family, scales=(0.8, 1.0), flip=True)
    run(Propagator(net, settings, batch=2), video, [Job(k, square(k)) for k in (1, 2, 3, 4)])
    assert computed == [2] * 2 * len(video)  # both mirror images of a scale together
    assert video.reads == len(video)


@pytest.mark.parametrize("family", FAMILIES)
def test_frames_that_are_encoded_together_give_the_same(family, monkeypatch):
    net, jobs = precise(family), [Job(0, square(0)), Job(2, square(2))]
    chosen = quick(family, scales=(0.8, 1.0), flip=True)
    alone, expected = run(Propagator(net, chosen), DrawnVideo(), jobs)
    computed, threads, video = [], set(), DrawnVideo()
    monkeypatch.setattr(net, "encode", lambda images, encode=net.encode: computed.append(len(images)) or encode(images))
    monkeypatch.setattr(Propagator, "_frames_at_once", lambda self, size: 3)
    monkeypatch.setattr(frame_views, "network_image", lambda *given: threads.add(get_ident()) or network_image(*given))
    together, probabilities = run(Propagator(net, chosen), video, jobs)
    np.testing.assert_array_equal(together, alone)
    assert_close(probabilities, expected)
    assert max(computed) == 2 * 3  # both mirror images of three frames
    assert sum(computed) == 2 * 2 * len(video)
    assert video.reads == len(video)
    assert len(threads) == 1
    assert get_ident() not in threads


def test_the_next_video_is_read_and_resized_ahead(monkeypatch):
    video, jobs = DrawnVideo(), [Job(3, square(3))]
    chosen = quick("aot", scales=(0.8, 1.0), flip=True)
    expected, _ = run(Propagator(network("aot"), chosen), DrawnVideo(), jobs)
    propagator, resized = Propagator(network("aot"), chosen), Event()
    resize = frame_views.network_image

    def resize_and_tell(*given):
        if video.reads == 3:  # the last frame
            resized.set()
        return resize(*given)

    monkeypatch.setattr(frame_views, "network_image", resize_and_tell)
    propagator.expect(lambda: (video, 3))
    assert resized.wait(60)
    found, _ = run(propagator, video, jobs)
    np.testing.assert_array_equal(found, expected)
    assert video.reads == len(video)


@pytest.mark.parametrize("batch", [1, 4])
def test_results_do_not_depend_on_the_cache(batch):
    jobs = [Job(1, square(1)), Job(4, square(4))]
    video = DrawnVideo()
    kept, _ = run(Propagator(network("aot"), quick("aot"), batch=batch), video, jobs)
    assert video.reads == len(video)
    none = DrawnVideo()
    again, _ = run(Propagator(network("aot"), quick("aot"), batch=batch, cache_bytes=0), none, jobs)
    np.testing.assert_array_equal(kept, again)
    assert none.reads > len(video)


def test_a_pixel_won_by_a_stray_id_belongs_to_something_but_to_no_object():
    objects = ObjectTable((4, 9), slots=10)
    numbers = np.array([[0, 1], [2, 7]], np.uint8)
    probabilities = torch.full((11, 2, 2), 0.05)
    probabilities[0] = 0.5
    found = SegmentedFrame(0, 1, 0, objects, numbers, probabilities)
    np.testing.assert_array_equal(found.mask(), [[False, True], [True, True]])
    np.testing.assert_array_equal(found.mask(4), [[False, True], [False, False]])
    np.testing.assert_array_equal(found.probability(), np.full((2, 2), 0.5, np.float32))
    np.testing.assert_array_equal(found.probability(9), np.full((2, 2), 0.05, np.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_corrected_directions_know_nothing_of_one_another(family):
    """Frames before the key frame come out as if the video ended there; frames after it as if it began there."""

    class Part(DrawnVideo):
        def __init__(self, start, stop):
            super().__init__()
            self.pixels = self.pixels[start:stop]

    whole, _ = run(Propagator(network(family), quick(family)), DrawnVideo(), [Job(3, square(3))])
    before, _ = run(Propagator(network(family), quick(family)), Part(0, 4), [Job(3, square(3))])
    after, _ = run(Propagator(network(family), quick(family)), Part(3, 6), [Job(0, square(3))])
    np.testing.assert_array_equal(whole[0, :3], before[0, :3])
    np.testing.assert_array_equal(whole[0, 4:], after[0, 1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_faithful_differs_in_the_backward_pass_only(family):
    """Same ids and settings, so that the memory that stays in is the one difference."""
    kept = quick(family, keep_memory=True, scales=(1.0,), flip=False)
    video, job = DrawnVideo(9), [Job(4, square(4))]
    clean, clean_background = run(Propagator(network(family), quick(family)), video, job)
    leaky, leaky_background = run(Propagator(network(family), kept), video, job)
    np.testing.assert_array_equal(clean[0, 5:], leaky[0, 5:])
    assert np.abs(clean_background[0, :4] - leaky_background[0, :4]).max() > rounding(1, NETWORK)


def test_switches_change_the_result():
    video, job = DrawnVideo(), [Job(2, square(2))]
    base, background = run(Propagator(network("aot"), quick("aot", flip=True)), video, job)
    for changes in ({"active_ids": "all"}, {"feedback": "own"}):
        _, other = run(Propagator(network("aot"), quick("aot", flip=True, **changes)), video, job)
        assert np.abs(background - other).max() > rounding(1, NETWORK), changes
    assert base.max() == 1


def test_one_frame_has_nothing_to_propagate():
    assert list(Propagator(network("aot"), quick("aot")).propagate(DrawnVideo(1), [Job(0, square(0))])) == []
    assert list(Propagator(network("aot"), quick("aot")).propagate(DrawnVideo(3), [])) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_more_objects_than_a_network_holds(family):
    labels = np.zeros(SIZE, np.uint8)
    for index in range(13):
        labels[8 * (index // 6) : 8 * (index // 6) + 8, 16 * (index % 6) : 16 * (index % 6) + 16] = 10 * index + 5
    results = list(Propagator(network(family), quick(family), batch=1).propagate(DrawnVideo(3), [Job(1, labels)]))
    assert [result.frame for result in results] == [2, 0]
    for result in results:
        assert result.objects.ids == tuple(range(5, 135, 10))
        assert result.probabilities.shape == (21, *SIZE)
        torch.testing.assert_close(result.probabilities.sum(dim=0), torch.ones(SIZE))
        assert result.numbers.max() <= 13
        np.testing.assert_array_equal(result.mask(125), result.numbers == 13)
        np.testing.assert_array_equal(result.probability(125), result.probabilities[13])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 25)), max_size=12), st.integers(1, 5))
def test_batches_hold_every_job_once_and_keep_their_limit(wanted, batch):
    propagator = Propagator(network("aot"), quick("aot"), batch=batch)
    jobs = []
    for key_frame, objects in wanted:
        labels = np.zeros(SIZE, np.int64)
        labels.flat[: objects + 1] = range(objects + 1)
        jobs.append(Job(key_frame, labels))
    tasks = {}
    for index, job in enumerate(jobs):
        tasks.setdefault((job.key_frame,), []).append(propagator._task(index, job, DrawnVideo()))
    batches = list(propagator._batches(tasks))
    found = [task.job for groups in batches for group in groups for task in group.tasks]
    assert sorted(found) == list(range(len(jobs)))
    for groups in batches:
        held = [task for group in groups for task in group.tasks]
        assert len(held) == 1 or sum(task.objects.sets for task in held) <= batch
        assert len({group.frames for group in groups}) == len(groups)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job(6, square(2)), r"key frame 6 is not in the video, which has frames 0 to 5"),
        (Job(-1, square(2)), r"key frame -1"),
        (Job(1, np.ones((4, 5), np.uint8)), r"mask of key frame 1 is 4 x 5, .* 64 x 96"),
        (Job(1, np.zeros(SIZE, np.uint8)), r"mask of key frame 1 is empty"),
    ],
)
def test_jobs_that_do_not_fit_are_refused_before_any_work(job, message):
    video = DrawnVideo()
    with pytest.raises(InputError, match=message):
        list(Propagator(network("aot"), quick("aot")).propagate(video, [Job(2, square(2)), job]))
    assert video.reads == 0


def test_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match="active_ids"):
        quick("aot", active_ids="some")
    with pytest.raises(ConfigError, match="batch"):
        Propagator(network("aot"), quick("aot"), batch=0)


def test_a_video_shorter_than_it_says():
    video = DrawnVideo()
    video.frames = lambda start: iter(())
    with pytest.raises(InputError, match="ends before frame 0"):
        list(Propagator(network("aot"), quick("aot")).propagate(video, [Job(0, square(0))]))


def test_going_back_again_restarts_the_pass():
    """Several batches sweep forwards more than once; from a sweep's second frame on, one pass gives the frames."""
    video = DrawnVideo(8)
    passes = []
    video.frames = lambda start, frames=video.frames: passes.append(start) or frames(start)
    jobs = [Job(1, square(1)), Job(2, square(2))]
    run(Propagator(network("aot"), quick("aot"), batch=1, cache_bytes=0), video, jobs)
    assert passes == [2, 3]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cap_bounds_what_is_remembered(family, monkeypatch):
    memories = []

    class Watched(propagate.Memory):
        def __init__(self, policy):
            super().__init__(policy)
            memories.append(self)

    monkeypatch.setattr(propagate, "Memory", Watched)
    capped = quick(family, memory=replace(quick(family).memory, long_term_cap=3), scales=(1.0,), flip=False)
    run(Propagator(network(family), capped), DrawnVideo(14), [Job(0, square(0))])
    tokens = SIZE[0] // 16 * (SIZE[1] // 16)
    assert [memory.tokens for memory in memories] == [3 * tokens]


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_close(family):
    job = [Job(2, square(2))]
    _, full = run(Propagator(network(family), quick(family)), DrawnVideo(4), job)
    _, half = run(Propagator(deepcopy(network(family)), quick(family), precision="bfloat16"), DrawnVideo(4), job)
    assert np.abs(full - half).max() > 0
    assert np.abs(full - half).mean() < 0.02  # two or three times bfloat16's epsilon


@pytest.mark.parametrize("family", ["aot"])  # tracing takes long; the other family has the same stages
def test_compiled_stages_give_the_same(family, monkeypatch):
    """Graphs are captured and replayed; code generation for a device is torch's own business."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    jobs = [Job(0, square(0))]
    _, plain = run(Propagator(network(family), quick(family)), DrawnVideo(3), jobs)
    _, compiled = run(Propagator(network(family), quick(family), compiled=True), DrawnVideo(3), jobs)
    assert_close(compiled, plain, NETWORK)


def both_ways(propagator, video, job):
    """Background probabilities [H, W] by frame and reference."""
    results = list(propagator.propagate(video, [job]))
    found = {(result.frame, result.reference): result.probabilities[0] for result in results}
    assert len(found) == len(results), "a frame came twice the same way"
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_between_references_masks_come_from_both(family):
    job = Job(1, square(1), {4: square(4)})
    found = both_ways(Propagator(network(family), quick(family)), DrawnVideo(), job)
    assert set(found) == {(0, 1), (2, 1), (3, 1), (2, 4), (3, 4), (5, 4)}
    first = both_ways(Propagator(network(family), quick(family)), DrawnVideo(), Job(1, square(1)))
    last = both_ways(Propagator(network(family), quick(family)), DrawnVideo(), Job(4, square(4)))
    assert torch.equal(found[3, 1], first[3, 1]), "a reference ahead is not remembered yet"
    assert torch.equal(found[2, 4], last[2, 4])
    assert not torch.equal(found[5, 4], last[5, 4]), "the references that were passed are remembered"
    assert not torch.equal(found[0, 1], first[0, 1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("make", [corrected, faithful])
def test_references_together_equal_references_alone(family, make):
    jobs = [Job(1, square(1), {4: square(4)}), Job(4, square(4, (4, 9)), {1: square(1, (9,))}), Job(0, square(0))]
    chosen = replace(make(network(family).config), scales=(0.8, 1.0))

    def found(jobs, batch):
        results = Propagator(precise(family), chosen, batch=batch).propagate(DrawnVideo(), jobs)
        return {(result.job, result.frame, result.reference): result.probabilities for result in results}

    together = found(jobs, 8)
    for index, job in enumerate(jobs):
        for (_, *place), expected in found([job], 1).items():
            assert_close(together.pop((index, *place)), expected)
    assert not together


def test_a_reference_is_gone_on_from_as_from_a_first_one():
    """With a memory of the references alone, what lies before the last one passed leaves no trace."""
    video, settings = DrawnVideo(8), quick("aot", memory=MemoryPolicy(long_term_gap=None), scales=(1.0,), flip=False)
    three = Job(0, square(0), {3: square(3), 5: square(5)})
    found = both_ways(Propagator(network("aot"), settings), video, three)
    video.pixels[1:3] = 0
    changed = both_ways(Propagator(network("aot"), settings), video, three)
    for place in found:
        same = torch.equal(found[place], changed[place])
        assert same == (place[0] > 2), place


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "precision"), [("tiny", "strict"), ("tiny", "bfloat16"), ("r50_{}l", "strict"), ("{}l", "strict")]
)
def test_a_gpu_never_waits_for_a_frame(family, name, precision):
    """Two groups, one with more objects than a set holds."""
    config = named_config(family, name.format(family))
    with Unallocated():
        net = PropagationNetwork(config).eval()
    set_precision(net, precision)
    chosen = replace(corrected(config), scales=(0.8, 1.0))

    def segment(gpu):
        propagator = Propagator(net, chosen)
        views = FrameViews(DrawnVideo(), chosen, config, 0, net.encode, lambda size: 2)

        def features(view):
            return net.encode(torch.empty(2, 3, *views.sizes[view], device=gpu)).split()[1]

        numbers = torch.empty(SIZE, dtype=torch.uint8, device=gpu)
        many = tuple(range(1, config.max_objects + 3))
        groups = [
            propagate._Group((0,), [propagate._Task(index, ObjectTable(ids, config.max_objects), {0: numbers})])
            for index, ids in enumerate([(1, 2), many])
        ]
        for group in groups:
            propagator._pass(group, 0, views, features)
        for frame in range(1, 4):
            found = propagator._segment(groups, frame, views, features)
        return [*found.labels, *found.probabilities]

    labels, more, probabilities, more_probabilities = on_fake_gpu(net, segment)
    assert labels.shape == more.shape == SIZE
    assert probabilities.shape == (3, *SIZE)
    assert len(more_probabilities) == 1 + 2 * config.max_objects
