"""Sweeps over frames give what the library's plain calls give, with less memory and fewer calls of the encoder."""

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from golden_cases.torch.fake_gpu import on_fake_gpu
from grounded_sam2 import SAM2Propagator, propagate, tracking
from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from grounded_sam2.propagate import Propagator, full_size
from grounded_sam2.tracking import build_processor
from program_kit.errors import InputError, ProgramKitError
from program_kit.prompts import Prompt
from program_kit.propagator import Job

from .drawn_videos import SIZE, block, save_video

KEPT = {"object_pointer", "object_score_logits"}
MEMORY = {"maskmem_features", "maskmem_pos_enc"}


def plain(network, video, key_frame, masks):
    """Logits [n, h, w] and presence [n] by frame, by the library's own calls on the whole video."""
    processor = build_processor(network)
    frames = [video.read_frame(i) for i in range(len(video))]
    found = {}
    for reverse in (False, True):
        session = processor.init_video_session(video=frames)
        processor.process_new_mask_for_video_frame(session, key_frame, list(range(len(masks))), list(masks))
        network(session, frame_idx=key_frame)
        for out in network.propagate_in_video_iterator(session, start_frame_idx=key_frame, reverse=reverse):
            if out.frame_idx != key_frame:
                found[out.frame_idx] = (out.pred_masks[:, 0], out.object_score_logits[:, 0].sigmoid())
    return found


@pytest.fixture
def counted(network, monkeypatch):
    """Frames given to the image encoder."""
    calls = []
    encode = network.get_image_features

    def count(pixels, **options):
        calls.append(len(pixels))
        return encode(pixels, **options)

    monkeypatch.setattr(network, "get_image_features", count)
    return calls


@pytest.mark.parametrize("frames", [24, 9])  # more and fewer frames than object pointers
def test_results_are_those_of_plain_calls(network, tmp_path, frames):
    video = save_video(tmp_path / "clip", frames)
    objects = {1: [block(10, 2), block(20, 40)], frames - 4: [block(5, 30)]}
    jobs = [Job(key, mask.astype(np.uint8)) for key, masks in objects.items() for mask in masks]
    found = {(result.job, result.frame): result for result in Propagator(network).propagate(video, jobs)}
    assert set(found) == {(j, i) for j, job in enumerate(jobs) for i in range(frames) if i != job.key_frame}
    numbers = itertools.count()
    for key, masks in objects.items():
        expected = plain(network, video, key, masks)
        assert max(float(logits.abs().max()) for logits, _ in expected.values()) > 0.1  # there is something to compare
        for row, job in zip(range(len(masks)), numbers, strict=False):
            for frame, (logits, presence) in expected.items():
                result = found[job, frame]
                torch.testing.assert_close(result.logits, logits[row : row + 1], rtol=1e-4, atol=1e-4)
                assert result.presence() == pytest.approx(float(presence[row]), abs=1e-5)
                at_full_size = full_size(logits[row], SIZE).numpy()
                decided = np.abs(at_full_size) > 1e-3
                np.testing.assert_array_equal(result.mask()[decided], at_full_size[decided] > 0)


def test_results_of_several_references_are_those_of_plain_calls(network, video):
    """One session in which all masks are given first is swept each way from the reference at its end."""
    given = {
        3: [block(10, 2), block(20, 40)],
        9: [block(10, 20), np.zeros(SIZE, bool)],
        20: [block(9, 30), block(2, 2)],
    }
    labels = {frame: [mask.astype(np.uint8) for mask in masks] for frame, masks in given.items()}
    jobs = [Job(3, labels[3][n], {i: labels[i][n] for i in (9, 20) if labels[i][n].any()}) for n in range(2)]
    found = {(r.job, r.frame, r.reference): r for r in Propagator(network).propagate(video, jobs)}
    expected = {}
    for n, job in enumerate(jobs):
        references = [*job.references]
        for start, reverse in ((references[0], False), (references[-1], True)):
            processor = build_processor(network)
            session = processor.init_video_session(video=[video.read_frame(i) for i in range(len(video))])
            for frame, own in job.references.items():
                processor.process_new_mask_for_video_frame(session, frame, [0], [own > 0])
                network(session, frame_idx=frame)
            for out in network.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse):
                passed = [i for i in references if (i > out.frame_idx if reverse else i < out.frame_idx)]
                if out.frame_idx not in references:
                    expected[n, out.frame_idx, passed[0 if reverse else -1]] = out.pred_masks[:, 0]
    assert set(found) == set(expected)
    for place, logits in expected.items():
        torch.testing.assert_close(found[place].logits, logits, rtol=1e-4, atol=1e-4)


def test_an_object_that_is_not_in_a_reference(network, video):
    first, second = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    first[2:12, 2:20], second[16:30, 24:40] = 3, 7
    results = list(Propagator(network).propagate(video, [Job(2, first, {9: second})]))
    assert len(results) == len(video) - 2 + 6
    assert all(list(result.object_ids) == [3, 7] for result in results)


def test_frames_are_prepared_as_the_library_does(network, video):
    frame = video.read_frame(5)
    expected = build_processor(network).video_processor(videos=frame[None], return_tensors="pt")
    image = tracking.network_image(frame, 128, torch.device("cpu"))
    torch.testing.assert_close(image, expected.pixel_values_videos[0])


def test_memory_matters_in_this_network(network, video, monkeypatch):
    """Else the test above could not tell a session that forgets too much."""
    job = Job(0, block(10, 2).astype(np.uint8))
    usual = [result.logits for result in Propagator(network).propagate(video, [job])]
    forget = tracking.Tracker._forget
    for name, fewer in (("_memories", 2), ("_pointers", 5)):

        def sooner(self, session, frame, name=name, fewer=fewer):
            setattr(self, name, fewer)
            forget(self, session, frame)
            (outputs,) = session.output_dict_per_obj.values()
            tracked = outputs["non_cond_frame_outputs"]
            for earlier in [earlier for earlier in tracked if abs(frame - earlier) >= fewer]:
                del tracked[earlier]

        monkeypatch.setattr(tracking.Tracker, "_forget", sooner)
        other = [result.logits for result in Propagator(network).propagate(video, [job])]
        assert max(float((a - b).abs().max()) for a, b in zip(usual, other, strict=True)) > 1e-3, name


def test_a_frame_is_encoded_once_for_all_jobs(network, video, counted):
    jobs = [Job(key, block(10, 2 * n).astype(np.uint8)) for n, key in enumerate((3, 3, 8, 8))]
    list(Propagator(network).propagate(video, jobs))
    assert len(counted) == len(video)


def test_the_next_video_is_read_ahead(network, video):
    job = Job(3, block(10, 2).astype(np.uint8))
    propagator = Propagator(network)
    expected = [result.logits for result in propagator.propagate(video, [job])]
    propagator.expect(lambda: (video, 3))
    reader = propagator._next._expected.result()
    found = [result.logits for result in propagator.propagate(video, [job])]
    assert not reader.images._frames  # all that was read was used
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_without_a_cache_frames_between_key_frames_are_encoded_twice(network, video, counted):
    jobs = [Job(key, block(10, 2).astype(np.uint8)) for key in (3, 8)]
    list(Propagator(network, cache_bytes=0).propagate(video, jobs))
    assert len(counted) == len(video) + 6


@pytest.mark.parametrize("key_frame", [0, 23])
def test_from_the_first_or_the_last_frame_there_is_one_way(network, video, counted, key_frame):
    results = list(Propagator(network, cache_bytes=0).propagate(video, [Job(key_frame, block(10, 2).astype(np.uint8))]))
    assert sorted(result.frame for result in results) == [i for i in range(24) if i != key_frame]
    assert len(counted) == len(video)


def test_company_changes_nothing_but_rounding(network, video):
    jobs = [Job(key, block(top, 10).astype(np.uint8)) for key, top in ((4, 2), (4, 20), (15, 9))]
    together = {(r.job, r.frame): r.logits for r in Propagator(network).propagate(video, jobs)}
    for index, job in enumerate(jobs):
        for result in Propagator(network).propagate(video, [job]):
            torch.testing.assert_close(result.logits, together[index, result.frame], rtol=1e-4, atol=1e-4)


def test_sessions_remember_a_bounded_number_of_frames(network, video, monkeypatch):
    kept = []
    step = tracking.Tracker.step

    def watched(self, frame, features):
        found = step(self, frame, features)
        (session,) = self._sessions
        (outputs,) = session.output_dict_per_obj.values()
        tracked = outputs["non_cond_frame_outputs"].values()
        assert all(set(output) - MEMORY == KEPT for output in tracked)
        assert session.processed_frames is None
        assert not session.frames_tracked_per_obj[0]
        assert not session.mask_inputs_per_obj[0]
        kept.append((len(tracked), sum(set(output) >= MEMORY for output in tracked)))
        return found

    monkeypatch.setattr(tracking.Tracker, "step", watched)
    list(Propagator(network).propagate(video, [Job(0, block(10, 2).astype(np.uint8))]))
    assert max(kept) == (15, 6)


def test_the_key_frame_is_seen_once_for_both_ways(network, video, monkeypatch):
    seen = []
    monkeypatch.setattr(
        network.mask_downsample, "forward", lambda mask, f=network.mask_downsample.forward: seen.append(1) or f(mask)
    )
    list(Propagator(network).propagate(video, [Job(key, block(10, 2).astype(np.uint8)) for key in (0, 8, 8, 23)]))
    assert len(seen) == 4


def test_objects_of_several_sessions_come_out_in_order(network, video, monkeypatch):
    jobs = [Job(4, block(top, 10).astype(np.uint8)) for top in (0, 7, 15, 22, 29)]
    whole = [(r.job, r.frame, r.logits) for r in Propagator(network).propagate(video, jobs)]
    boxes = [Prompt(frame=2, box=(10, 5, 30 + 10 * n, 30)) for n in range(5)]
    found = Propagator(network).prompted_masks(video, boxes)
    for module in (tracking, propagate):
        monkeypatch.setattr(module, "OBJECTS_AT_ONCE", 2)
    parts = [(r.job, r.frame, r.logits) for r in Propagator(network).propagate(video, jobs)]
    assert [result[:2] for result in parts] == [result[:2] for result in whole]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one[2], other[2], rtol=1e-4, atol=1e-4)
    again = Propagator(network).prompted_masks(video, boxes)
    assert np.mean([np.mean(one == other) for one, other in zip(found, again, strict=True)]) > 0.999


def test_every_object_of_a_label_map_is_found(network, video):
    labels = np.zeros(SIZE, np.uint8)
    labels[2:12, 2:20], labels[16:30, 24:40], labels[30:44, 60:70] = 3, 7, 255
    results = list(Propagator(network).propagate(video, [Job(2, labels)]))
    assert len(results) == len(video) - 1
    for result in results:
        masks = [result.mask(object_id) for object_id in (3, 7, 255)]
        np.testing.assert_array_equal(result.mask(), np.any(masks, axis=0))
        np.testing.assert_array_equal(result.probability(7) > 0.5, masks[1])
        assert result.probability().dtype == np.float32
        assert result.presence() == max(result.presence(object_id) for object_id in (3, 7, 255))


PROMPTS = {
    "box": Prompt(frame=2, box=(10, 5, 50, 30)),
    "points": Prompt(frame=2, points=((20, 12), (70, 40)), labels=(1, 0)),
    "both": Prompt(frame=6, points=((20, 12),), labels=(1,), box=(10, 5, 50, 30)),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_find_what_plain_calls_find(network, video, name):
    prompt, processor = PROMPTS[name], build_processor(network)
    session = processor.init_video_session(video=[video.read_frame(i) for i in range(len(video))])
    processor.process_new_points_or_boxes_for_video_frame(
        session,
        prompt.frame,
        [1],
        input_points=[[[list(point) for point in prompt.points]]] if prompt.points else None,
        input_labels=[[list(prompt.labels)]] if prompt.points else None,
        input_boxes=[[list(prompt.box)]] if prompt.box else None,
    )
    expected = full_size(network(session, frame_idx=prompt.frame).pred_masks[0, 0], SIZE).numpy()
    decided = np.abs(expected) > 1e-3
    assert decided.any()
    masks = Propagator(network).prompted_masks(video, list(PROMPTS.values()))
    np.testing.assert_array_equal(masks[list(PROMPTS).index(name)][decided], expected[decided] > 0)


def test_prompted_objects_are_propagated(network, video):
    found = SAM2Propagator(network).propagate_prompts(video, PROMPTS)
    assert found.expression_ids == tuple(PROMPTS)
    assert [track.key_frame for track in found.tracks] == [2, 2, 6]
    assert all(track.stack()[:2].any() for track in found.tracks)


def test_half_precision(network, video):
    job = Job(0, block(10, 2).astype(np.uint8))
    exact = [r.mask() for r in Propagator(network).propagate(video, [job])]
    half = [r.mask() for r in Propagator(deepcopy(network), precision="bfloat16").propagate(video, [job])]
    assert np.mean(np.array(exact) == np.array(half)) > 0.8
    with pytest.raises(ProgramKitError, match="precision 'int8'"):
        Propagator(network, precision="int8")


def test_without_jobs_nothing_is_done(network, video, counted):
    """As when every key frame of a run is empty."""
    assert list(Propagator(network).propagate(video, [])) == []
    assert counted == []


def test_a_job_that_does_not_fit_the_video(network, video):
    with pytest.raises(InputError, match="key frame 24 is not in the video"):
        list(Propagator(network).propagate(video, [Job(24, block(1, 1).astype(np.uint8))]))


@pytest.mark.parametrize("precision", ["strict", "bfloat16"])
def test_a_gpu_never_waits_for_a_sweep(video, monkeypatch, precision):
    """Two groups, one of them with two jobs and two references."""
    net = SAM2_CHECKPOINTS.load("tiny", None, seed=0)
    # transformers sends the distances of remembered frames to the GPU in every step; nothing else is excepted
    net.config.enable_temporal_pos_encoding_for_object_pointers = False
    one, two = block(10, 2).astype(np.uint8), 2 * block(20, 40).astype(np.uint8)
    jobs = [Job(0, one), Job(1, one + two, {3: two}), Job(1, two, {3: one})]

    def segment(gpu):
        propagator = Propagator(net, precision=precision)

        def encode(self, frame):
            pixels = torch.empty(*SIZE, 3, dtype=torch.uint8, device=gpu)
            image = tracking.normalised(pixels, tracking.image_side(net)).to(net.dtype)
            found = net.get_image_features(image)
            return tracking.FrameFeatures(found.fpn_hidden_states, found.fpn_position_encoding[-1])

        monkeypatch.setattr(tracking.FrameEncoder, "_encode", encode)
        monkeypatch.setattr(propagate, "to_device", lambda mask, device: torch.empty(mask.shape, device=device) > 0)
        return list(propagator._sweeps(propagator.encoder(video), propagate._groups(jobs)))

    found = on_fake_gpu(net, segment)
    assert {(of_group.frame, len(of_group.logits)) for of_group in found if of_group.frame > 20} == {
        (frame, objects) for frame in (21, 22, 23) for objects in (1, 4)
    }
