"""What the page is shown: the very masks and frames that are there."""

import shutil

import av
import cv2
import numpy as np
import pytest
from fusion_core.report.content import Gatherer
from fusion_core.view.bytes_cache import BytesCache
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import Library, open_runs, unused
from mask_interchange import (
    DatasetError,
    MaskRun,
    MaskTrack,
    RunError,
    RunManifest,
    VideoMasks,
    open_dataset,
    open_video,
)
from mask_interchange.video_file import VideoFile


def test_the_session_names_everything(page, world):
    session = page.json("session")
    assert [run["name"] for run in session["runs"]] == ["a", "a_aot", "b", "c", "final", "first", "first_aot"]
    assert [video["id"] for video in session["videos"]] == ["world00", "world01"]
    assert session["videos"][0]["expressions"][0] == {"id": "0", "text": world.evil}
    assert session["runs"][session["source"]]["name"] == "final"
    assert session["readOnly"] is None


def test_masks_are_those_of_the_runs(page, world):
    runs = [run["name"] for run in page.json("session")["runs"]]
    for v, video in enumerate(("world00", "world01")):
        described = page.json(f"videos/{v}")
        assert (described["size"], described["frames"]) == ([90, 160], 6)
        for number, name in enumerate(runs):
            masks = MaskRun.open(world.runs / name).read(video)
            assert described["names"] == list(masks.frame_names)
            for e, track in enumerate(masks.tracks):
                shown = page.get(f"videos/{v}/masks", run=number, e=e, **{"from": 0, "to": 6}).content.split(b"\n")
                assert tuple(shown) == track.masks
                scores = page.json(f"videos/{v}/track", run=number, e=e)
                assert scores["key"] == track.key_frame
                if track.scores is None:
                    assert scores["scores"] is None
                else:
                    np.testing.assert_allclose(scores["scores"], track.scores, atol=0.0005)


def test_frames_are_those_of_the_video(page, world):
    video = open_dataset(world.dataset).videos["world01"]
    for i in (0, 5):
        answer = page.get(f"videos/1/frames/{i}.jpg")
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"]
        shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(shown.astype(int) - video.read_frame(i)).mean() < 3
    assert (
        page.get("videos/1/frames/0.jpg", w=640).content == page.get("videos/1/frames/0.jpg").content
    )  # smaller already


def test_votes_and_disagreement_are_those_of_the_report(page, world):
    dataset = open_dataset(world.dataset)
    runs = {run["name"]: MaskRun.open(world.runs / run["name"]) for run in page.json("session")["runs"]}
    names = list(runs)
    for v, video in enumerate(("world00", "world01")):
        content = Gatherer(nodes=world.recipe.nodes, runs=runs).gather(dataset.videos[video])
        for e in range(len(content.expressions)):
            shown = page.json(f"videos/{v}/disagreement", e=e)
            np.testing.assert_allclose(shown, content.disagreement[e], atol=0.0006)
            for name in ("first", "final"):
                count = content.counts[name][e]
                votes = page.json(f"videos/{v}/votes", run=names.index(name), e=e)
                assert votes == {"voters": [[names.index(run), k] for run, k in count.voters], "needed": count.needed}
    assert page.json("videos/0/votes", run=names.index("a"), e=0) is None


def test_a_run_of_other_data_is_named_and_the_rest_is_shown(opened, runs):
    masks = MaskRun.open(runs / "a").read("world00")
    wrong = [MaskTrack.from_masks(track.expression, np.zeros((6, 4, 5), bool)) for track in masks.tracks]
    shape = {"video": "world00", "size": (4, 5), "frame_names": masks.frame_names}
    MaskRun.open(runs / "a").write(VideoMasks(**shape, tracks=tuple(wrong)))
    (runs / "b" / "videos" / "world00.masks").write_bytes(b"damaged")
    with opened() as corrected:
        video = corrected.library.open(0)
    assert "run a: frames of 5x4 pixels, but the video has 160x90" in video.problems[0]
    assert "header" in video.problems[2]
    assert 4 in video.masks


def test_a_folder_without_runs_or_videos_is_refused(world, tmp_path, runs):
    with pytest.raises(RunError, match="holds no runs"):
        open_runs(tmp_path / "nothing")
    with pytest.raises(RunError, match="found a run; give the folder around it"):
        open_runs(runs / "a")
    shutil.rmtree(runs / "a" / "videos")
    with pytest.raises(RunError, match="no video of dataset is in the runs a"):
        Library(dataset=open_dataset(world.dataset), runs=[MaskRun.open(runs / "a")], folder=runs)


def test_what_segment_leaves_is_found(tmp_path, runs):
    (tmp_path / "out").mkdir()
    runs.rename(tmp_path / "out" / "runs")
    assert open_runs(tmp_path / "out")[0].path == tmp_path / "out" / "runs" / "a"


def test_corrections_begin_from_a_run_that_no_other_was_made_of(runs):
    assert unused(open_runs(runs)).name == "final"
    shutil.rmtree(runs / "final")
    assert unused(open_runs(runs)).name in {"a_aot", "first_aot", "first"}  # first was read by final only


def write_clip(path, frames=30):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 8 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip(tmp_path):
    """A video file, and the folder of one run over it with that many frames."""

    def made(frames=30):
        path = write_clip(tmp_path / "clip.mp4")
        dataset = open_video(path, ["a thing"])
        manifest = RunManifest(producer="x", producer_version="1", dataset=dataset.identity)
        run = MaskRun.create(tmp_path / "runs" / "x", manifest)
        names = tuple(f"{i:05d}" for i in range(frames))
        [expression] = dataset.videos["clip"].expressions
        track = MaskTrack.from_masks(expression, np.ones((frames, 48, 64), bool))
        run.write(VideoMasks(video="clip", size=(48, 64), frame_names=names, tracks=(track,)))
        return path, tmp_path / "runs"

    return made


def test_a_video_file_is_shown_before_all_of_it_is_decoded(clip, monkeypatch):
    path, runs = clip()
    monkeypatch.setattr("fusion_core.view.library.Thread", lambda **_: type("Idle", (), {"start": lambda self: None})())
    library = Library(dataset=open_video(path), runs=open_runs(runs), folder=runs)
    assert library.picture(0, 2, None)[:2] == b"\xff\xd8"
    source = library.open(0).video.source
    assert isinstance(source, VideoFile)
    assert len(source.index) == 1
    assert library.expressions(0)[0].text == "a thing"  # of the run, where the data set names none
    source.index.grow()
    again = Library(dataset=open_video(path), runs=open_runs(runs), folder=runs)
    assert again.open(0).video.source.index.is_complete  # kept beside the runs
    assert (runs / ".view" / "index").is_dir()


def test_a_video_file_with_another_number_of_frames_is_said(clip):
    path, runs = clip(frames=29)
    library = Library(dataset=open_video(path), runs=open_runs(runs), folder=runs)
    opened = library.open(0)
    opened.check()
    assert opened.is_checked
    assert "the file has 30 frames, the runs have 29" in opened.problem


def test_a_frame_that_is_far_away_needs_no_index(clip, monkeypatch):
    path, runs = clip()
    monkeypatch.setattr("fusion_core.view.library.Thread", lambda **_: type("Idle", (), {"start": lambda self: None})())
    library = Library(dataset=open_video(path), runs=open_runs(runs), folder=runs)
    early = library.picture(0, 27, None)
    opened = library.open(0)
    assert (len(opened.video.source.index), opened.is_checked) == (1, False)
    opened.check()
    assert (opened.is_checked, opened.problem) == (True, None)
    assert Library(dataset=open_video(path), runs=open_runs(runs), folder=runs).picture(0, 27, None) == early
    monkeypatch.setattr(VideoFile, "keeps_promises", lambda self: False)
    opened.check()
    assert "start `view` again" in opened.problem


def test_a_broken_video_does_not_stop_the_others(world, runs, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world.dataset, data)
    shutil.rmtree(data / "JPEGImages" / "world00")
    library = Library(dataset=open_dataset(data), runs=open_runs(runs), folder=runs)
    with CorrectedRun(library) as corrected:
        with pytest.raises(DatasetError, match="world00"):
            corrected.library.open(0)
        assert corrected.library.open(1).frames == 6


def test_the_cache_holds_no_more_bytes_than_it_may():
    cache = BytesCache(10, len)
    made = []

    def get(key, size):
        return cache.get(key, lambda: made.append(key) or b"x" * size)

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4), ("d", 50), ("e", 1)):
        get(key, size)
    assert made == ["a", "b", "c", "b", "d", "e"]
