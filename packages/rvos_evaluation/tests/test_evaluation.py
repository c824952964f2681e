"""Runs against annotations, by every protocol."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from mask_interchange.png_folders import import_annotations
from PIL import Image
from rich.console import Console
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.evaluation import evaluate_run
from rvos_evaluation.protocols import Protocol
from rvos_evaluation.scoreboard import as_json, as_table, write_files

SIZE = (24, 32)
FRAMES = ("00000", "00005", "00010", "00015")


def box(top, left, height=8, width=8):
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


LEFT, RIGHT, NOTHING = box(6, 4), box(6, 20), np.zeros(SIZE, bool)


def save(path, labels, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(labels, np.uint8))
    if palette:
        image.putpalette([0, 0, 0, *(i % 256 for i in range(1, 766))])
    image.save(path)


def label_image(**objects):
    labels = np.zeros(SIZE, np.uint8)
    for label, mask in objects.items():
        labels[mask] = int(label.removeprefix("o"))
    return labels


@pytest.fixture
def annotate(tmp_path):
    """Write the annotation of one video: label images of every frame, or a mask per expression."""
    root = tmp_path / "Annotations"

    def write(video="dog", labels=None, masks=None, palette=True, frames=FRAMES):
        for t, frame in enumerate(frames):
            if labels is not None:
                save(root / video / f"{frame}.png", labels if isinstance(labels, np.ndarray) else labels[t], palette)
            for expression, mask in (masks or {}).items():
                save(root / video / expression / f"{frame}.png", mask * 255)
        return root

    return write


@pytest.fixture
def predict(tmp_path):
    """Write a run; every expression has the same mask on all frames."""
    manifest = RunManifest(
        producer="test", producer_version="1", dataset={"name": "test", "split": None, "fingerprint": None}
    )
    run = MaskRun.create(tmp_path / "run", manifest)

    def write(video="dog", masks=None, text=None, groups=None, frames=FRAMES, size=SIZE):
        tracks = tuple(
            MaskTrack.from_masks(Expression(id=id_, text=text, group=(groups or {}).get(id_)), [mask] * len(frames))
            for id_, mask in masks.items()
        )
        run.write(VideoMasks(video=video, size=size, frame_names=frames, tracks=tracks))
        return run

    return write


def scores(run, annotations, protocol="rvos", dataset=None):
    return evaluate_run(run, open_annotations(annotations), Protocol(protocol), dataset)


def j_of(evaluation):
    return {one.target.expression.id: one.j.mean() for one in evaluation.targets}


# --- rvos -----------------------------------------------------------------------------------------------------------


def test_every_expression_counts_the_same_whatever_its_video(annotate, predict):
    annotate("dog", masks={"0": LEFT, "1": LEFT, "2": LEFT})
    root = annotate("cat", masks={"0": RIGHT})
    predict("dog", masks={"0": LEFT, "1": LEFT, "2": LEFT})
    run = predict("cat", masks={"0": NOTHING})
    evaluation = scores(run, root)
    assert (evaluation.overall.j, evaluation.overall.f, evaluation.overall.jf) == (0.75, 0.75, 0.75)


def test_missing_expressions_videos_and_frames_score_0_and_are_listed(annotate, predict):
    annotate("dog", masks={"0": LEFT, "1": LEFT})
    annotate("cat", masks={"0": LEFT})
    root = annotate("cow", masks={"0": LEFT})
    predict("cow", masks={"0": LEFT}, frames=FRAMES[:3])
    evaluation = scores(predict("dog", masks={"0": LEFT, "9": LEFT}), root)
    assert evaluation.overall.j == pytest.approx((1 + 0 + 0 + 0.75) / 4)
    assert sorted(evaluation.missing) == ["video cat", "video cow, frame 00015", "video dog, expression 1"]
    assert evaluation.unscored == ("video dog, expression 9",)


def test_only_annotated_frames_count(annotate, predict):
    root = annotate(masks={"0": LEFT}, frames=FRAMES[::2])
    run = predict(masks={"0": LEFT}, frames=tuple(f"{t:05d}" for t in range(16)))
    (target,) = scores(run, root).targets
    assert target.frames == FRAMES[::2]
    assert target.j.tolist() == [1, 1]


def test_groups_say_which_object_is_meant(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    run = predict(masks={"0": RIGHT, "1": LEFT}, text="the thing", groups={"0": "2", "1": "1"})
    assert j_of(scores(run, root)) == {"0": 1, "1": 1}


def test_masks_without_expressions_are_the_objects_they_are_called_after(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o3=RIGHT))
    evaluation = scores(predict(masks={"3": RIGHT}), root)
    assert j_of(evaluation) == {"3": 1, "1": 0}
    assert evaluation.missing == ["video dog, expression 1"]


@pytest.mark.parametrize("value", [1, 255])
def test_expressions_about_the_only_object_need_no_group(annotate, predict, value):
    root = annotate(labels=LEFT * value, palette=value == 1)
    assert j_of(scores(predict(masks={"0": LEFT, "7": RIGHT}, text="it"), root)) == {"0": 1, "7": 0}


def test_a_video_without_any_expression_misses_every_object(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    assert j_of(scores(predict(masks={}), root)) == {"1": 0, "2": 0}


def test_a_data_set_says_what_is_asked_for(annotate, predict, tmp_path):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    annotate("other", labels=label_image(o1=LEFT))
    expressions = {"0": {"exp": "left", "obj_id": "1"}, "1": {"exp": "right", "obj_id": "2"}}
    meta = {"videos": {"dog": {"expressions": expressions, "frames": list(FRAMES)}}}
    (tmp_path / "meta_expressions.json").write_text(json.dumps(meta))
    evaluation = scores(predict(masks={"1": RIGHT}), root, dataset=open_dataset(tmp_path))
    assert j_of(evaluation) == {"0": 0, "1": 1}
    assert evaluation.missing == ["video dog, expression 0"]


def test_equal_masks_are_scored_against_their_own_objects(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    run = predict(masks={"0": LEFT, "1": LEFT}, text="it", groups={"0": "1", "1": "2"})
    assert j_of(scores(run, root)) == {"0": 1, "1": 0}


# --- DAVIS ----------------------------------------------------------------------------------------------------------


def test_davis_leaves_the_first_and_last_frame_out(annotate, predict):
    good, bad = label_image(o1=LEFT), label_image(o1=RIGHT)
    root = annotate(labels=[bad, good, good, bad])
    assert scores(predict(masks={"1": LEFT}), root, "davis").overall.jf == 1
    assert scores(predict(masks={"1": LEFT}), root, "rvos").overall.jf == 0.5


def test_davis_counts_objects_of_the_first_frame_and_takes_missing_masks_as_empty(annotate, predict):
    empty = label_image()
    late = label_image(o1=LEFT, o3=RIGHT)
    root = annotate(labels=[label_image(o1=LEFT, o2=RIGHT), late, empty, late])
    evaluation = scores(predict(masks={"1": LEFT}), root, "davis")
    # Object 2 is on no inner frame, and so is its empty mask; object 3 is never asked for.
    assert j_of(evaluation) == {"1": 0.5, "2": 1}
    assert evaluation.missing == ["video dog, expression 2"]


def test_davis_gives_a_pixel_to_the_first_of_overlapping_masks(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    evaluation = scores(predict(masks={"1": LEFT | RIGHT, "2": RIGHT}), root, "davis")
    assert j_of(evaluation) == {"1": 0.5, "2": 0}


def test_unsupervised_davis_matches_the_best_prediction_and_skips_void(annotate, predict):
    void = box(0, 0, 4, 32)
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT, o255=void))
    run = predict(masks={"5": RIGHT | void, "6": NOTHING, "8": LEFT})
    evaluation = scores(run, root, "davis-unsupervised")
    assert j_of(evaluation) == {"1": 1, "2": 1}
    assert evaluation.unscored == ("video dog, expression 6",)


def test_ref_davis_averages_four_annotators(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT, o2=RIGHT))
    masks = [LEFT, LEFT, LEFT, NOTHING, RIGHT, RIGHT, NOTHING, NOTHING]
    evaluation = scores(predict(masks={str(k): mask for k, mask in enumerate(masks)}), root, "ref-davis")
    assert [means.j for means in evaluation.annotators] == [1, 1, 0.5, 0]
    assert evaluation.overall.j == pytest.approx(0.625)


# --- bad input ------------------------------------------------------------------------------------------------------


def test_sizes_that_differ_name_both(annotate, predict):
    root = annotate(masks={"0": LEFT})
    run = predict(masks={"0": LEFT[:20]}, size=(20, 32))
    with pytest.raises(EvaluationError, match="video dog, frame 00000: the annotation is 24x32, the prediction 20x32"):
        scores(run, root)


@pytest.mark.parametrize(
    ("protocol", "masks", "labels", "options", "words"),
    [
        ("rvos", {"0": LEFT}, {"o1": LEFT, "o2": RIGHT}, {"text": "it"}, "nothing says which one is meant"),
        ("rvos", {"0": LEFT}, {"o1": LEFT}, {"groups": {"0": "2"}}, r"means object '2', .* shows the objects \[1\]"),
        ("davis", {"0": LEFT, "1": LEFT}, {"o1": LEFT}, {"text": "it"}, "'0' and '1' both mean object 1"),
        ("davis", {"4": LEFT}, {"o1": LEFT, "o2": RIGHT}, {}, r"means object '4', .* shows the objects \[1, 2\]"),
        ("davis", {"1": LEFT}, {}, {}, "no object on the first annotated frame 00000"),
        ("davis-unsupervised", {str(k): LEFT for k in range(21)}, {"o1": LEFT}, {}, "21 predictions; .* allows 20"),
        ("ref-davis", {"0": LEFT}, {"o1": LEFT}, {}, "1 expressions; Ref-DAVIS17 has 4"),
        ("rvos", {"1": LEFT}, {"o1": LEFT}, {"frames": ("0", "5")}, "the run has no annotated frame; it has '0'"),
    ],
)
def test_predictions_that_cannot_be_compared(annotate, predict, protocol, masks, labels, options, words):
    root = annotate(labels=label_image(**labels))
    run = predict(masks=masks, **options)
    with pytest.raises(EvaluationError, match=words):
        scores(run, root, protocol)


def test_davis_needs_label_images_and_an_inner_frame(annotate, predict):
    root = annotate(masks={"0": LEFT})
    run = predict(masks={"0": LEFT})
    with pytest.raises(EvaluationError, match="the davis protocol needs label images"):
        scores(run, root, "davis")


def test_two_frames_are_too_few_for_davis(annotate, predict):
    root = annotate(labels=label_image(o1=LEFT), frames=FRAMES[:2])
    with pytest.raises(EvaluationError, match="2 annotated frames; the davis protocol leaves out"):
        scores(predict(masks={"1": LEFT}), root, "davis")


def test_annotations_of_another_data_set(annotate, predict):
    root = annotate("cat", masks={"0": LEFT})
    with pytest.raises(EvaluationError, match=r"none of the 1 annotated videos \(cat\) is in .*run, which has dog"):
        scores(predict(masks={"0": LEFT}), root)


def test_faulty_annotation_files_are_named(annotate, predict, tmp_path):
    run = predict(masks={"1": LEFT})
    root = annotate(labels=label_image(o1=LEFT))
    path = root / "dog" / "00010.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(EvaluationError, match=r"video dog, frame 00010: .*00010\.png: "):
        scores(run, root)
    Image.new("RGB", SIZE[::-1]).save(path)
    with pytest.raises(EvaluationError, match="found mode RGB"):
        scores(run, root)
    save(path, np.zeros((5, 5)))
    with pytest.raises(EvaluationError, match=r"the annotation is 5x5, but 00000\.png is 24x32"):
        scores(run, root)
    with pytest.raises(EvaluationError, match="holds neither"):
        open_annotations(root / "dog")
    with pytest.raises(EvaluationError, match="is not a folder"):
        open_annotations(tmp_path / "nowhere")
    save(root / "dog" / "0" / "00000.png", LEFT)
    with pytest.raises(EvaluationError, match="holds PNG files and folders of PNG files"):
        open_annotations(root)


def test_grey_pictures_of_one_object_cannot_turn_into_labels(annotate, predict):
    root = annotate(labels=[LEFT * 255, LEFT * 2, LEFT, LEFT], palette=False)
    with pytest.raises(EvaluationError, match=r"frame 00005: earlier frames are grey 0/255 .* labels \[0, 2\]"):
        scores(predict(masks={"1": LEFT}), root)


# --- tables and files -----------------------------------------------------------------------------------------------


def test_files_hold_every_score(annotate, predict, tmp_path):
    root = annotate(masks={"0": LEFT, "1": RIGHT})
    evaluation = scores(predict(masks={"0": LEFT, "1": LEFT}, text="a, b"), root)
    written = write_files(evaluation, tmp_path / "scores")
    assert [path.name for path in written] == ["scores.json", "videos.csv", "expressions.csv", "frames.csv"]
    tree = json.loads(written[0].read_text())
    assert tree["overall"] == {"J": 0.5, "F": 0.5, "J&F": 0.5, "targets": 2}
    assert tree["videos"]["dog"]["targets"][1]["frames"]["00005"] == {"J": 0, "F": 0}
    videos, expressions, frames = (list(csv.DictReader(path.read_text().splitlines())) for path in written[1:])
    assert [(row["video"], float(row["J&F"])) for row in videos] == [("dog", 0.5)]
    assert [(row["expression"], row["text"], float(row["J&F"])) for row in expressions] == [
        ("0", "a, b", 1),
        ("1", "a, b", 0),
    ]
    assert [row["frame"] for row in frames] == [*FRAMES, *FRAMES]


def test_the_table_lists_what_is_missing_and_what_is_not_scored(annotate, predict):
    root = annotate(masks={"0": LEFT, "1": RIGHT})
    console = Console(file=io.StringIO(), width=100)
    console.print(as_table(scores(predict(masks={"0": LEFT, "9": LEFT}), root)))
    text = console.file.getvalue()
    assert "50.0" in text
    assert "missing in the run: 1\n  video dog, expression 1\n" in text
    assert "not scored because not annotated: 1\n  video dog, expression 9\n" in text


# --- real data ------------------------------------------------------------------------------------------------------

DATA = Path(os.environ.get("RVOS_DATA", "no such folder"))


@pytest.mark.skipif(not (DATA / "davis16_eval").is_dir(), reason="set RVOS_DATA to the folder that holds davis16_eval")
def test_scores_of_a_published_result_equal_the_official_ones(tmp_path):
    folder = DATA / "davis16_eval"
    manifest = RunManifest(
        producer="STM", producer_version="1", dataset={"name": "davis16", "split": None, "fingerprint": None}
    )
    run = MaskRun.create(tmp_path / "stm", manifest)
    for masks in import_annotations(folder / "predictions_stm"):
        run.write(masks)
    ours = json.loads(as_json(scores(run, folder / "Annotations", "davis")))["videos"]
    official = json.loads((folder / "official_scores.json").read_text())["sequences"]
    assert ours.keys() == official.keys()
    for video, numbers in official.items():
        (target,) = ours[video]["targets"]
        for measure in ("J", "F"):
            # The first and the last frame are not scored (null). Means are float64 sums in numpy's order, far below
            # the 1e-6 that a pixel is worth.
            raw = numbers[measure]["raw"][1:-1]
            assert [frame[measure] for frame in target["frames"].values()] == raw, video
            assert target[measure] == pytest.approx(numbers[measure]["mean"], abs=1e-12)
            assert target[f"{measure}_decay"] == pytest.approx(numbers[measure]["decay"], abs=1e-12)


def test_the_folder_of_a_resolution_is_no_video(tmp_path):
    save(tmp_path / "Annotations/480p/dog/00000.png", label_image(o1=LEFT))
    assert list(open_annotations(tmp_path)) == ["dog"]
    save(tmp_path / "Annotations/1080p/dog/00000.png", label_image(o1=LEFT))
    with pytest.raises(EvaluationError, match="several resolutions"):
        open_annotations(tmp_path)
