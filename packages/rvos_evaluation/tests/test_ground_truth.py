"""Data sets with masks of their own kinds: which masks an expression means, which frames count, what is measured."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, encode_mask, open_dataset
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rvos_evaluation.annotations import open_annotations, open_truth
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.evaluation import evaluate_run
from rvos_evaluation.measures import average_precision
from rvos_evaluation.protocols import Protocol
from rvos_evaluation.scoreboard import as_json, write_files
from rvos_evaluation.targets import Folders, Frames
from rvos_evaluation.truth_check import TruthCheck

SIZE = (12, 16)
FRAMES = ("00000", "00001", "00002", "00003")


def box(left: int, width: int = 4) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[4:8, left : left + width] = True
    return mask


LEFT, RIGHT, NOTHING = box(1), box(10), np.zeros(SIZE, bool)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if values.dtype != bool:
        image.putpalette([0, 0, 0, *(i % 256 for i in range(1, 766))])
    image.save(path)


@pytest.fixture
def describe(tmp_path):
    """Write a description in a folder of its own; `groups` are the `obj_id` of expressions 0, 1, ..."""

    def write(groups, *, name="meta_expressions.json", anno_ids=None, video="dog", frames=FRAMES):
        expressions = {str(k): {"exp": f"thing {k}", "obj_id": group} for k, group in enumerate(groups)}
        for k, names in (anno_ids or {}).items():
            expressions[k]["anno_id"] = names
        file = tmp_path / "data" / name
        file.parent.mkdir(exist_ok=True)
        tree = json.loads(file.read_text()) if file.exists() else {"videos": {}}
        tree["videos"][video] = {"frames": list(frames), "expressions": expressions}
        file.write_text(json.dumps(tree))
        return file.parent

    return write


@pytest.fixture
def predict(tmp_path):
    """Write a run; masks of an expression are one for all frames, or one for each."""
    manifest = RunManifest(
        producer="test", producer_version="1", dataset={"name": "test", "split": None, "fingerprint": None}
    )
    run = MaskRun.create(tmp_path / "run", manifest)

    def write(masks, *, groups=None, scores=None, video="dog", frames=FRAMES):
        tracks = []
        for id_, given in masks.items():
            each = [given] * len(frames) if isinstance(given, np.ndarray) else given
            expression = Expression(id=id_, text="it", group=(groups or {}).get(id_))
            tracks.append(MaskTrack.from_masks(expression, each, scores=(scores or {}).get(id_)))
        run.write(VideoMasks(video=video, size=SIZE, frame_names=tuple(frames), tracks=tuple(tracks)))
        return run

    return write


def j_of(evaluation) -> dict[str, float]:
    return {one.target.expression.id: one.j.mean() for one in evaluation.targets}


def evaluate(run, dataset, protocol="rvos", **options):
    opened = open_dataset(dataset)
    return evaluate_run(run, open_truth(opened), Protocol(protocol), opened, **options)


# --- which masks are meant --------------------------------------------------------------------------------------------


def test_several_objects_and_none_against_label_images(describe, predict, tmp_path):
    root = describe([[1, 2], [], "2"])
    for frame in FRAMES:
        save(root / "Annotations/dog" / f"{frame}.png", LEFT * np.uint8(1) + RIGHT * np.uint8(2))
    run = predict({"0": LEFT | RIGHT, "1": NOTHING, "2": RIGHT})
    evaluation = evaluate(run, root)
    assert j_of(evaluation) == {"0": 1, "1": 1, "2": 1}
    rows = json.loads(as_json(evaluation))["videos"]["dog"]["targets"]
    assert [row["object"] for row in rows] == ["1+2", "", 2]
    write_files(evaluation, tmp_path / "scores")
    assert j_of(evaluate(predict({"0": LEFT, "1": LEFT, "2": RIGHT}), root)) == {"0": 0.5, "1": 0, "2": 1}


def write_object_folders(root, present, video="dog"):
    for name, (mask, frames) in present.items():
        for frame in frames:
            save(root / "Annotations" / video / name / f"{frame}.png", mask)


def test_folders_of_objects_are_no_expressions(describe, predict):
    """As in Long-RVOS: a folder `1` is object 1, not expression 1, and a frame without a file does not show it."""
    root = describe(["1", "1", "2"])
    write_object_folders(root, {"1": (LEFT, FRAMES), "2": (RIGHT, FRAMES[:2])})
    right = {"0": LEFT, "1": LEFT, "2": [RIGHT, RIGHT, NOTHING, NOTHING]}
    evaluation = evaluate(predict(right), root, "long-rvos")
    assert j_of(evaluation) == {"0": 1, "1": 1, "2": 1}
    assert evaluation.measures == {"tIoU": 1, "vIoU": 1}
    assert not evaluation.unscored
    false_alarm = evaluate(predict(right | {"2": RIGHT}), root, "long-rvos")
    assert j_of(false_alarm)["2"] == 0.5
    assert false_alarm.measures == {"tIoU": pytest.approx(2.5 / 3), "vIoU": pytest.approx(2.5 / 3)}
    assert j_of(evaluate(predict(right), root))["2"] == 1, "the same under rvos"


def test_objects_of_a_run_without_a_data_set(describe, predict):
    root = describe(["1", "2"])
    write_object_folders(root, {"1": (LEFT, FRAMES), "2": (RIGHT, FRAMES[:2])})
    run = predict({"0": LEFT, "3": RIGHT}, groups={"0": "1", "3": "2"})
    evaluation = evaluate_run(run, open_annotations(root / "Annotations"))
    assert j_of(evaluation) == {"0": 1, "3": 0.5}


def test_folders_of_expressions_with_objects_named_alike(describe, predict):
    """Expressions 0 and 1 mean objects 1 and 0; another video tells that folders are expressions."""
    root = describe(["1", "0"])
    describe(["1", "1"], video="cat")
    for video in ("dog", "cat"):
        write_object_folders(root, {"0": (LEFT, FRAMES), "1": (RIGHT, FRAMES)}, video)
    predict({"0": LEFT, "1": RIGHT}, video="cat")
    assert j_of(evaluate(predict({"0": LEFT, "1": RIGHT}), root)) == {"0": 1, "1": 1}


def test_folders_that_may_be_both_must_be_named(describe, predict):
    root = describe(["1", "0"])
    write_object_folders(root, {"0": (LEFT, FRAMES), "1": (RIGHT, FRAMES)})
    run = predict({"0": LEFT, "1": RIGHT})
    with pytest.raises(EvaluationError, match=r"the folders 0, 1 of .* may be expressions or objects; say which"):
        evaluate(run, root)
    assert j_of(evaluate(run, root, folders=Folders.EXPRESSIONS)) == {"0": 1, "1": 1}
    assert j_of(evaluate(run, root, folders=Folders.OBJECTS)) == {"0": 0, "1": 0}


def test_folders_that_contradict_each_other(describe, predict):
    root = describe(["1", "1"])
    describe(["7"], video="cat")
    write_object_folders(root, {"0": (LEFT, FRAMES), "1": (LEFT, FRAMES)})
    write_object_folders(root, {"7": (LEFT, FRAMES)}, "cat")
    predict({"0": LEFT}, video="cat")
    with pytest.raises(EvaluationError, match=r"objects in video cat and expressions in video dog; say .* --folders"):
        evaluate(predict({"0": LEFT, "1": LEFT}), root)


def test_an_object_without_a_folder(describe, predict):
    root = describe(["1", "2", "3"])
    write_object_folders(root, {"1": (LEFT, FRAMES), "3": (LEFT, FRAMES)})
    with pytest.raises(EvaluationError, match=r"expression '1': it means '2', of which .* holds no masks"):
        evaluate(predict({"0": LEFT, "1": LEFT, "2": LEFT}), root)


# --- run lengths ------------------------------------------------------------------------------------------------------


def coco(mask):
    return {"size": list(SIZE), "counts": encode_mask(mask).decode()} if mask.any() else None


def write_lists(root, lists):
    tree = {name: [coco(mask) for mask in masks] for name, masks in lists.items()}
    (root / "mask_dict.json").write_text(json.dumps(tree))


def test_mevis_version_2(describe, predict):
    root = describe([[0, 1], [0], [], []], anno_ids={"0": [4, 9], "1": [4], "2": [], "3": []}, frames=FRAMES[::-1])
    write_lists(root, {"4": [LEFT, LEFT, NOTHING, NOTHING], "9": [NOTHING, RIGHT, RIGHT, NOTHING]})
    both = [LEFT, LEFT | RIGHT, RIGHT, NOTHING]
    run = predict({"0": both, "1": NOTHING, "2": NOTHING, "3": [NOTHING, LEFT, NOTHING, NOTHING]})
    evaluation = evaluate(run, root, "mevis")
    # Lists follow the sorted names, although the description lists the frames backwards.
    assert j_of(evaluation) == {"0": 1, "1": 0.5, "2": 1, "3": 0.75}
    jf = (1 + 0.5 + 1 + 0.75) / 4
    assert evaluation.overall.jf == jf
    assert evaluation.measures == {"N-acc": 0.5, "T-acc": 0.5, "Final": pytest.approx((jf + 0.5 + 0.5) / 3)}


def test_missing_masks_of_mevis_are_wrong_answers(describe, predict):
    root = describe([[0], []], anno_ids={"0": [4], "1": []})
    write_lists(root, {"4": [LEFT] * 4})
    evaluation = evaluate(predict({"0": LEFT}), root, "mevis")
    assert j_of(evaluation) == {"0": 1, "1": 0}
    assert evaluation.measures["T-acc"] == 1
    assert evaluation.missing == ["video dog, expression 1"]
    assert evaluation.measures["N-acc"] == 0, "no mask is no answer"


def test_version_1_of_mevis_has_no_answers_to_count(describe, predict):
    root = describe([[0]], anno_ids={"0": [4]})
    write_lists(root, {"4": [LEFT, NOTHING, NOTHING, NOTHING]})
    evaluation = evaluate(predict({"0": LEFT}), root, "mevis")
    assert j_of(evaluation) == {"0": 0.25}
    assert evaluation.measures == {}


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"5": [LEFT] * 4}, r"the data set names masks \['4'\], which .*mask_dict\.json does not have"),
        ({"4": [LEFT] * 3}, r"expected masks of 4 frames, of one size, .* found 3"),
    ],
)
def test_run_lengths_that_do_not_fit_the_description(describe, predict, lists, words):
    root = describe([[0]], anno_ids={"0": [4]})
    write_lists(root, lists)
    with pytest.raises(EvaluationError, match=words):
        evaluate(predict({"0": LEFT}), root)


def test_run_lengths_need_a_data_set(describe):
    root = describe([[0]], anno_ids={"0": [4]})
    write_lists(root, {"4": [LEFT] * 4})
    with pytest.raises(EvaluationError, match="need the data set that names them; give --dataset"):
        open_annotations(root / "mask_dict.json")
    (root / "mask_dict.json").unlink()
    with pytest.raises(EvaluationError, match="has no masks of its videos; give --annotations"):
        open_truth(open_dataset(root))


def test_tracks_with_numbers_of_their_own_are_not_taken_for_objects(describe):
    """Masks "4" of a data set are others than track 4 of a YouTube-VIS file."""
    root = describe([[0]], anno_ids={"0": [4]})
    write_lists(root, {"4": [LEFT] * 4})
    tracks = {"videos": [], "annotations": [{"id": 4, "segmentations": [None] * 4}]}
    (root / "tracks.json").write_text(json.dumps(tracks))
    with pytest.raises(EvaluationError, match="numbers its tracks itself"):
        open_annotations(root / "tracks.json", open_dataset(root))


# --- which frames count -----------------------------------------------------------------------------------------------


def test_folders_with_different_frames_must_be_explained(describe, predict):
    root = describe(["1", "1"])
    write_object_folders(root, {"0": (LEFT, FRAMES), "1": (LEFT, FRAMES[:2])})
    run = predict({"0": LEFT, "1": LEFT})
    with pytest.raises(EvaluationError, match=r"0 has 4 frames, 1 has others \(2\)\. .* --frames all; --frames anno"):
        evaluate(run, root)
    assert j_of(evaluate(run, root, frames=Frames.ALL)) == {"0": 1, "1": 0.5}
    annotated = evaluate(run, root, frames=Frames.ANNOTATED)
    assert j_of(annotated) == {"0": 1, "1": 1}


def test_frames_without_ground_truth_are_counted_or_named(describe, predict):
    root = describe(["1"])
    for frame in FRAMES[::2]:
        save(root / "Annotations/dog" / f"{frame}.png", LEFT * np.uint8(1))
    run = predict({"0": LEFT})
    evaluation = evaluate(run, root)
    assert evaluation.unscored == ("video dog, 2 of 4 frames",)
    every = evaluate(run, root, frames=Frames.ALL)
    assert j_of(every) == {"0": 0.5}
    assert every.unscored == ()


# --- single frames ----------------------------------------------------------------------------------------------------


def random_masks(rng, number):
    """Boxes of any place, and predictions that overlap them more or less."""
    truths = [box(int(rng.integers(0, 8)), int(rng.integers(2, 8))) for _ in range(number)]
    return truths, [np.roll(one, int(rng.integers(0, 4)), axis=1) for one in truths]


def test_a2d_equals_pycocotools_and_plain_numpy(describe, predict):
    rng = np.random.default_rng(3)
    truths, found = random_masks(rng, 40)
    confidence = rng.choice(40, 40, replace=False) / 40
    root = describe([str(k) for k in range(10)])
    for k, truth in enumerate(truths):
        save(root / "Annotations/dog" / str(k // 4) / f"{FRAMES[k % 4]}.png", truth)
    ids = [str(k) for k in range(10)]
    run = predict(
        {id_: [found[4 * k + t] for t in range(4)] for k, id_ in enumerate(ids)},
        scores={id_: confidence[4 * k : 4 * k + 4] for k, id_ in enumerate(ids)},
    )
    measured = evaluate(run, root, "a2d", folders=Folders.EXPRESSIONS).measures

    masks = {"truth": truths, "found": found}
    rles = {name: [coco_masks.encode(np.asfortranarray(one, np.uint8)) for one in all_] for name, all_ in masks.items()}
    areas = coco_masks.area(rles["truth"])
    boxes = coco_masks.toBbox(rles["truth"])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": k + 1, "height": SIZE[0], "width": SIZE[1]} for k in range(40)],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": k + 1, "image_id": k + 1, "category_id": 1, "iscrowd": 0, "area": float(areas[k])}
                | {"segmentation": rles["truth"][k], "bbox": boxes[k].tolist()}
                for k in range(40)
            ],
        }
        truth.createIndex()
        results = truth.loadRes(
            [
                {"image_id": k + 1, "category_id": 1, "segmentation": rles["found"][k], "score": float(confidence[k])}
                for k in range(40)
            ]
        )
        coco_evaluation = COCOeval(truth, results, "segm")
        coco_evaluation.evaluate()
        coco_evaluation.accumulate()
        coco_evaluation.summarize()
    assert measured["mAP"] == pytest.approx(coco_evaluation.stats[0], abs=1e-12)

    shared = [int((a & b).sum()) for a, b in zip(truths, found, strict=True)]
    either = [int((a | b).sum()) for a, b in zip(truths, found, strict=True)]
    iou = np.array(shared) / np.array(either)
    assert measured["overall IoU"] == sum(shared) / sum(either)
    assert measured["mean IoU"] == pytest.approx(iou.mean())
    assert [measured[f"P@{k}"] for k in (0.5, 0.7, 0.9)] == [np.mean(iou > k) for k in (0.5, 0.7, 0.9)]


def test_an_ap_of_samples_without_predictions():
    assert average_precision(np.array([1.0]), np.array([0.5]), 2) == pytest.approx(51 / 101)
    assert average_precision(np.array([]), np.array([]), 2) == 0


def test_a2d_without_scores_has_no_map(describe, predict):
    root = describe(["0"])
    write_object_folders(root, {"0": (LEFT, FRAMES[1:2])})
    measured = evaluate(predict({"0": LEFT}), root, "a2d").measures
    assert measured == {f"P@0.{k}": 1 for k in range(5, 10)} | {"overall IoU": 1, "mean IoU": 1}


def test_refcoco_with_several_and_no_targets(describe, predict):
    """By the rules of ReLA: a right "nothing" has IoU 1, a wrong one 0 and its pixels in the union."""
    root = describe([[1, 2], "1", [], []], frames=FRAMES[:1])
    save(root / "Annotations/dog" / f"{FRAMES[0]}.png", LEFT * np.uint8(1) + RIGHT * np.uint8(2))
    run = predict({"0": LEFT, "1": NOTHING, "2": NOTHING, "3": RIGHT}, frames=FRAMES[:1])
    assert evaluate(run, root, "refcoco").measures == {
        "gIoU": (0.5 + 0 + 1 + 0) / 4,
        "cIoU": 16 / (32 + 16 + 0 + 16),
        "P@0.5": 0.5,
        "P@0.6": 0,
        "P@0.7": 0,
        "P@0.8": 0,
        "P@0.9": 0,
        "N-acc": 0.5,
        "T-acc": 0.5,
    }
    predict({"0": LEFT | RIGHT, "1": LEFT}, frames=FRAMES[:1])


def test_ref_davis_mean_is_the_plain_mean_over_expressions(describe, predict):
    root = describe(["1", "1", "1", "1", "2", "2", "2", "2"])
    for frame in FRAMES:
        save(root / "Annotations/dog" / f"{frame}.png", LEFT * np.uint8(1) + RIGHT * np.uint8(2))
    swapped = {str(k): RIGHT if k < 4 else LEFT for k in range(8)}
    run = predict(swapped)
    assert evaluate(run, root, "ref-davis").overall.jf == 1, "objects are matched"
    assert evaluate(run, root, "ref-davis-mean").overall.jf == 0, "every expression has its own object"


# --- masks that do not fit --------------------------------------------------------------------------------------------


@pytest.fixture
def frames_of(describe):
    """Write the frames of a described video."""

    def write(root, video="dog"):
        (root / "JPEGImages" / video).mkdir(parents=True)
        for frame in FRAMES:
            Image.new("RGB", SIZE[::-1]).save(root / "JPEGImages" / video / f"{frame}.jpg")

    return write


def truth_faults(root):
    dataset = open_dataset(root)
    check = TruthCheck(dataset)
    return [str(fault) for name in dataset.videos for fault in check.faults(name)]


def test_masks_of_every_kind_that_fit(describe, frames_of):
    root = describe([[1, 2], "1"])
    frames_of(root)
    for frame in FRAMES:
        save(root / "Annotations/dog" / f"{frame}.png", LEFT * np.uint8(1) + RIGHT * np.uint8(2))
    assert truth_faults(root) == []
    shutil.rmtree(root / "Annotations")
    write_object_folders(root, {"1": (LEFT, FRAMES), "2": (RIGHT, FRAMES[:2])})
    assert truth_faults(root) == []
    describe([[1, 2], []], anno_ids={"0": ["a", "b"], "1": []})
    write_lists(root, {"a": [LEFT] * 4, "b": [NOTHING] * 4})
    assert open_dataset(root).truth.path.name == "mask_dict.json"
    assert truth_faults(root) == []


def test_label_images_that_do_not_fit(describe, frames_of):
    root = describe(["1", "7"])
    frames_of(root)
    save(root / "Annotations/dog/00000.png", LEFT * np.uint8(1))
    assert truth_faults(root) == [
        f"video dog, expression '1': it means object '7', but {root}/Annotations/dog shows the objects [1]"
    ]
    describe(["1"])
    save(root / "Annotations/dog/00000.png", (LEFT * np.uint8(1))[:5])
    assert "expected masks of 16x12 pixels as the frames, found 16x5" in truth_faults(root)[0]
    save(root / "Annotations/dog/00000.png", LEFT * np.uint8(1))
    save(root / "Annotations/dog/00009.png", LEFT * np.uint8(1))
    assert "frame '00009': " in truth_faults(root)[0]
    describe(["1"], video="cat")
    frames_of(root, "cat")
    assert truth_faults(root)[1:] == ["video 'cat': expected its masks beside those of the others, found none"]


def test_folders_that_do_not_fit(describe, frames_of):
    root = describe(["1", "1"])
    frames_of(root)
    describe(["1", "1"], video="cat")
    frames_of(root, "cat")
    write_object_folders(root, {"0": (LEFT, FRAMES), "1": (LEFT, FRAMES)})
    write_object_folders(root, {"0": (LEFT, FRAMES), "5": (LEFT, FRAMES)}, "cat")
    assert truth_faults(root) == [
        f"video 'cat': {root}/Annotations/cat/5 belongs to no expression",
        f"video 'cat', expression '1': {root}/Annotations/cat has no folder of its masks",
    ]


def test_run_lengths_that_do_not_fit(describe, frames_of):
    root = describe([[0]], anno_ids={"0": [4]})
    frames_of(root)
    write_lists(root, {"4": [LEFT] * 3})
    assert "expected masks of 4 frames, of one size" in truth_faults(root)[0]
    tree = {"4": [{"size": [5, 16], "counts": encode_mask(LEFT[:5]).decode()}] * 4}
    (root / "mask_dict.json").write_text(json.dumps(tree))
    assert "expected masks of 16x12 pixels as the frames, found 16x5" in truth_faults(root)[0]
    (root / "mask_dict.json").write_text(json.dumps({"4": [{"size": [12, 16], "counts": "?"}] * 4}))
    assert "mask_dict.json: 4[0].counts: " in truth_faults(root)[0]
