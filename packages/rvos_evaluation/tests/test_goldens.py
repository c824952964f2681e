"""The published scores on every golden case of the `evaluation` set, by kind."""

from pathlib import Path

import numpy as np
import pytest
from golden_cases import StageReport, find_cases, rounding
from mask_interchange import Expression, MaskTrack, VideoMasks
from PIL import Image
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Evaluation, Means
from rvos_evaluation.metrics import boundary_map, contour_accuracy, region_similarity, statistics, tolerance_in_pixels
from rvos_evaluation.protocols import Protocol, score_video

# Scores of single images (`refcoco`: precision at k, overall IoU) are none of this package's protocols.
CASES = [
    case
    for case in find_cases("evaluation", local=Path(__file__).parent / "goldens" / "evaluation")
    if case.kind != "refcoco"
]
ROUNDING = rounding(1, epsilon=np.finfo(np.float64).eps)  # of means of scores, which are 1 at most


def unpack(bits, width):
    return np.unpackbits(bits, axis=-1)[..., :width].astype(bool)


def frames(case, report):
    for name, config in case.manifest["config"].items():
        given = {key: case.arrays.get(f"in.{name}.{key}") for key in ("gt", "pred", "void")}
        masks = {key: None if bits is None else unpack(bits, config["width"]) for key, bits in given.items()}
        void = [None] * config["frames"] if masks["void"] is None else masks["void"]
        rows = list(zip(masks["gt"], masks["pred"], void, strict=True))
        expected = {key.removeprefix(f"out.{name}."): case.arrays[key] for key in case.names(f"out.{name}.")}

        assert tolerance_in_pixels((config["height"], config["width"])) == config["tolerance_px_at_0.008"]
        if f"mid.{name}.gt_boundary" in case.arrays:
            boundaries = [boundary_map(mask) for mask in masks["gt"]]
            report.add(f"{name} boundary", boundaries, unpack(case.arrays[f"mid.{name}.gt_boundary"], config["width"]))
        j = [region_similarity(*row) for row in rows]
        f = [contour_accuracy(*row) for row in rows]
        report.add(f"{name} J", j, expected.pop("J"))
        report.add(f"{name} F", f, expected.pop("F"), ROUNDING)
        numbers = [(values.mean, values.recall, values.decay) for values in (statistics(j), statistics(f))]
        report.add(f"{name} statistics", np.ravel(numbers), expected.pop("stats"), ROUNDING)
        for key, values in expected.items():
            tolerance = float(key.removeprefix("F_bound"))
            f = [contour_accuracy(*row, tolerance=tolerance) for row in rows]
            report.add(f"{name} {key}", f, values, ROUNDING)


def save_label_images(folder, labels):
    folder.mkdir(parents=True)
    for t, frame in enumerate(labels):
        image = Image.fromarray(frame)
        image.putpalette([value for index in range(256) for value in (index, index * 7 % 256, index)])
        image.save(folder / f"{t:05d}.png")


def predicted_objects(video, labels):
    ids = [int(label) for label in np.unique(labels) if label not in (0, 255)]
    tracks = [MaskTrack.from_masks(Expression(id=str(label)), labels == label) for label in ids]
    names = tuple(f"{t:05d}" for t in range(len(labels)))
    return VideoMasks(video=video, size=labels.shape[1:], frame_names=names, tracks=tuple(tracks))


def sequences(case, report, folder):
    config = case.manifest["config"]
    for video in config["sequences"]:
        save_label_images(folder / video, case.arrays[f"in.{video}.gt"])
    annotations = open_annotations(folder)
    for task, protocol in {"unsupervised": Protocol.DAVIS_UNSUPERVISED, "semi-supervised": Protocol.DAVIS}.items():
        videos = [
            score_video(protocol, annotations[video], predicted_objects(video, case.arrays[f"in.{video}.pred.{task}"]))
            for video in config["sequences"]
        ]
        names = {f"{video.video}_{one.target.labels[0]}" for video in videos for one in video.targets}
        assert names == set(config[f"objects.{task}"])
        evaluation = Evaluation(run="golden", protocol=protocol, videos=tuple(videos))
        numbers = {
            "J": [one.j_statistics for one in evaluation.targets],
            "F": [one.f_statistics for one in evaluation.targets],
        }
        summary = []
        for measure, values in numbers.items():
            for letter, name in {"M": "mean", "R": "recall", "D": "decay"}.items():
                column = [getattr(value, name) for value in values]
                report.add(f"{task} {measure} {name}", column, case.arrays[f"out.{task}.{measure}.{letter}"], ROUNDING)
                summary.append(np.mean(column))
        overall = evaluation.overall
        assert (overall.j, overall.f) == pytest.approx((summary[0], summary[3]), abs=ROUNDING)
        report.add(f"{task} global", [overall.jf, *summary], case.arrays[f"out.{task}.global"], ROUNDING)


def expressions(case, report, folder):
    targets = []
    for video, config in case.manifest["config"].items():
        truth, predicted = (unpack(case.arrays[f"in.{video}.{key}"], config["width"]) for key in ("gt", "pred"))
        names = tuple(f"{5 * t:05d}" for t in range(config["frames"]))
        for number, masks in enumerate(truth):
            (folder / video / str(number)).mkdir(parents=True)
            for name, mask in zip(names, masks, strict=True):
                Image.fromarray(mask.astype(np.uint8) * 255).save(folder / video / str(number) / f"{name}.png")
        tracks = [MaskTrack.from_masks(Expression(id=str(k)), masks) for k, masks in enumerate(predicted)]
        masks = VideoMasks(video=video, size=predicted.shape[2:], frame_names=names, tracks=tuple(tracks))
        scores = score_video(Protocol.RVOS, open_annotations(folder)[video], masks)
        report.add(f"{video} J", [one.j for one in scores.targets], case.arrays[f"out.{video}.J"])
        report.add(f"{video} F", [one.f for one in scores.targets], case.arrays[f"out.{video}.F"], ROUNDING)
        targets += scores.targets
    overall = Means.over(targets)
    report.add("overall", [overall.j, overall.f, overall.jf], case.arrays["out.overall"], ROUNDING)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case, tmp_path):
    report = StageReport(str(case), layers=0)
    in_folders = {"sequences": sequences, "expressions": expressions}
    in_arrays = {"frames": frames}
    assert case.kind in in_folders | in_arrays, f"{case}: no test for cases of kind {case.kind!r}"
    if case.kind in in_folders:
        in_folders[case.kind](case, report, tmp_path)
    else:
        in_arrays[case.kind](case, report)
    report.check()
