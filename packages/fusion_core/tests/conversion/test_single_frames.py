"""A2D-Sentences and JHMDB-Sentences, drawn in their own layouts."""

import json
import os
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from fusion_core.cli import app
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from mask_interchange.images import read_rgb
from PIL import Image
from rvos_evaluation.annotations import open_truth
from rvos_evaluation.evaluation import evaluate_run
from rvos_evaluation.protocols import Protocol
from scipy.io import savemat
from typer.testing import CliRunner

HEIGHT, WIDTH = 24, 32


def convert(root, out, *options):
    return CliRunner().invoke(app, ["convert-dataset", str(root), "--out", str(out), *map(str, options)])


def box(left):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:12, left : left + 8] = True
    return mask


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for t in range(frames):
            pixels = np.full((HEIGHT, WIDTH, 3), 40 * t, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode())


def write_instances(path: Path, masks: dict[int, np.ndarray]) -> None:
    """As A2D stores them: axes swapped, and a single mask without its own axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = np.stack([mask.T for mask in masks.values()]).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file["instance"] = np.array(list(masks), float)
        file["reMask"] = stack[0] if len(masks) == 1 else stack


@pytest.fixture
def a2d(tmp_path) -> Path:
    root = tmp_path / "a2d"
    texts = root / "text_annotations"
    texts.mkdir(parents=True)
    (texts / "a2d_annotation.txt").write_text(
        "video_id,instance_id,query\n"
        'test1,0,"A dog, running"\ntest1,2,the cat\ntest1,9,nobody annotated it\n'
        "test1,1 (copy),twice\ntrain1,0,a bird\nunused,0,a fish\n"
    )
    (texts / "a2d_missed_videos.txt").write_text("unused\n")
    (root / "Release").mkdir()
    rows = (("test1", 1), ("train1", 0), ("unused", 0))
    (root / "Release/videoset.csv").write_text("".join(f"{name},1,0,1,24,32,5,2,{part}\n" for name, part in rows))
    for video in ("test1", "train1"):
        write_video(root / "Release/clips320H" / f"{video}.mp4", 5)
        folder = texts / "a2d_annotation_with_instances" / video
        write_instances(folder / "00002.h5", {0: box(1), 2: box(20)})
        write_instances(folder / "00004.h5", {0: box(3)})
    return root


def test_a2d(a2d, tmp_path):
    out = tmp_path / "out"
    result = convert(a2d, out)
    assert result.exit_code == 0, result.output
    assert "left out the sentence about instance '1 (copy)'" in result.output
    assert "left out 1 sentences about instances without a mask" in result.output
    test = open_dataset(out, "test")
    assert test.check() == []
    video = test.videos["test1"]
    assert [(one.id, one.text, one.group) for one in video.expressions] == [
        ("0", "A dog, running", "0"),
        ("1", "the cat", "2"),
    ]
    assert video.frame_names == ("00001", "00002", "00003", "00004", "00005")
    assert abs(int(video.read_frame(1).mean()) - 40) < 9, "frame 00002 is the second one"
    assert list(open_dataset(out, "train").videos) == ["train1"]
    said = json.loads((out / "conversion.json").read_text())
    assert (said["videos"], said["expressions"], said["masks"]) == (2, 3, 5)

    run = MaskRun.create(tmp_path / "run", RunManifest(producer="x", producer_version="1", dataset=test.identity))
    masks = {"0": [box(1), box(1), box(1), box(3), box(1)], "1": [box(20)] * 5}
    tracks = [MaskTrack.from_masks(one, masks[one.id], scores=[0.5] * 5) for one in video.expressions]
    run.write(VideoMasks(video="test1", size=(HEIGHT, WIDTH), frame_names=video.frame_names, tracks=tuple(tracks)))
    scores = evaluate_run(run, open_truth(test), Protocol.A2D, test)
    assert set(scores.measures.values()) == {1.0}, "three annotated frames, all right"
    assert sum(len(one.frames) for one in scores.targets) == 3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "00002.h5").write_bytes(b"x" * 90), "00002.h5: not an annotation of A2D"),
        (lambda folder: write_instances(folder / "00009.h5", {0: box(1)}), "expected a frame '00009' of"),
        (lambda folder: write_instances(folder / "00002.h5", {0: box(1)[:, :9]}), "of (24, 9) (height, width)"),
    ],
)
def test_damaged_annotations_of_a2d(a2d, tmp_path, spoil, words):
    spoil(a2d / "text_annotations/a2d_annotation_with_instances/test1")
    result = convert(a2d, tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def jhmdb(tmp_path) -> Path:
    root = tmp_path / "jhmdb"
    frames = root / "Rename_Images/clap/one"
    frames.mkdir(parents=True)
    for t in range(1, 6):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * t, 0, 0)).save(frames / f"{t:05d}.png")
    masks = root / "puppet_mask/clap/one"
    masks.mkdir(parents=True)
    stack = np.stack([box(t) for t in range(4)], axis=2)  # the last frame has no mask
    savemat(masks / "puppet_mask.mat", {"part_mask": stack.astype(np.uint8)})
    (root / "jhmdb_annotation.txt").write_text('video_id,query\none,"a man, clapping"\n')
    return root


def test_jhmdb(jhmdb, tmp_path):
    result = convert(jhmdb, tmp_path / "out")
    assert result.exit_code == 0, result.output
    dataset = open_dataset(tmp_path / "out")
    assert dataset.check() == []
    assert [one.text for one in dataset.videos["one"].expressions] == ["a man, clapping"]
    folder = tmp_path / "out/Annotations/one/0"
    assert sorted(os.listdir(folder)) == [f"{t:05d}.png" for t in range(1, 5)]
    assert np.array_equal(read_rgb(folder / "00003.png")[:, :, 0] > 0, box(2)), "frames are numbered from 1"
    copied = tmp_path / "out/JPEGImages/one/00001.png"
    assert copied.read_bytes() == (jhmdb / "Rename_Images/clap/one/00001.png").read_bytes()


def test_the_published_frames_of_jhmdb(jhmdb, tmp_path):
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps([["one", f"/home/x/clap/one/{t:05d}.png", "mask", 4, "text"] for t in (1, 4)]))
    assert convert(jhmdb, tmp_path / "out", "--samples", samples).exit_code == 0
    assert sorted(os.listdir(tmp_path / "out/Annotations/one/0")) == ["00001.png", "00004.png"]
    samples.write_text("[[1]]")
    result = convert(jhmdb, tmp_path / "other", "--samples", samples)
    assert (result.exit_code, "expected [video, path of a frame, ...]" in result.stderr) == (2, True)


def test_damaged_masks_of_jhmdb(jhmdb, tmp_path):
    mat = jhmdb / "puppet_mask/clap/one/puppet_mask.mat"
    savemat(mat, {"part_mask": np.zeros((HEIGHT, WIDTH, 6), np.uint8)})
    assert "at most 5 frames" in convert(jhmdb, tmp_path / "out").stderr
    mat.write_bytes(b"x" * 200)
    assert "not a puppet_mask.mat" in convert(jhmdb, tmp_path / "out").stderr
