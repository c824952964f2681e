import json

import numpy as np
import pytest
from fusion_core import demo
from fusion_core.annotations import objects_in, open_annotations
from fusion_core.cli import app
from fusion_core.drawing import draw_dataset
from fusion_core.metrics import region_similarity
from fusion_core.spoiling import Failings, spoil
from mask_interchange import MaskRun, open_dataset
from typer.testing import CliRunner


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "data"
    draw_dataset(root, seed=3, videos=2, length=6, size=(90, 160))
    return root


def test_a_drawn_data_set_is_one_that_programs_can_read(drawn):
    dataset = open_dataset(drawn)
    assert dataset.check() == []
    annotations = open_annotations(drawn / "Annotations")
    assert list(dataset.videos) == list(annotations)
    for name, annotation in annotations.items():
        video = dataset.videos[name]
        assert annotation.frame_names() == video.frame_names
        assert {expression.group for expression in video.expressions} == {str(o) for o in annotation.object_labels()}
        texts = [expression.text for expression in video.expressions]
        assert len(set(texts)) == len(texts) == 2 * len(annotation.object_labels())


def test_equal_seeds_draw_equal_data_sets(drawn, tmp_path):
    draw_dataset(tmp_path / "same", seed=3, videos=2, length=6, size=(90, 160))
    draw_dataset(tmp_path / "other", seed=4, videos=2, length=6, size=(90, 160))
    assert contents(tmp_path / "same") == contents(drawn)
    assert contents(tmp_path / "other") != contents(drawn)


@pytest.fixture(scope="module")
def labels(drawn):
    annotation = next(iter(open_annotations(drawn / "Annotations").values()))
    return np.stack([frame.labels for frame in annotation.frames()])


def test_each_failing_does_what_it_says(labels):
    true = labels == 1

    def spoiled(**failings):
        return spoil(labels, 1, Failings(**{"roughness": 0.0} | failings), np.random.default_rng(0))[0]

    np.testing.assert_array_equal(spoiled(), true)
    assert sum(not mask.any() for mask in spoiled(lost=0.5)) == 3
    confused = spoiled(confused=1.0)
    assert not (confused & true).any()
    assert confused.any(axis=(1, 2)).all()
    leaking, bitten = spoiled(leaking=1.0), spoiled(bitten=1.0)
    assert (leaking | true).sum() == leaking.sum() > true.sum()
    assert (bitten & true).sum() == bitten.sum() < true.sum()
    rough = spoiled(roughness=1.5)
    j = [region_similarity(a, b) for a, b in zip(rough, true, strict=True)]
    assert all(0.5 < value < 1 for value in j)


def test_a_member_is_less_sure_where_it_errs(labels):
    masks, scores = spoil(labels, 1, Failings(roughness=0.0, lost=0.5), np.random.default_rng(1))
    lost = ~masks.any(axis=(1, 2))
    assert scores[lost].max() < scores[~lost].min()
    assert masks[scores.argmax()].any()


def test_the_demo_runs_the_real_commands_and_the_votes_win(tmp_path):
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "drawn, not predicted" in result.output
    assert "0 faults, 0 warnings" in result.output
    overall = json.loads((out / "scores" / "scores.json").read_text())["overall"]
    place = demo.Place(root=out)
    scores = {run: one.overall.jf for run, one in demo.score(place, [*demo.MODELS, *demo.STAGE_1, demo.FINAL]).items()}
    assert overall["J&F"] == pytest.approx(scores[demo.FINAL])
    best = max(scores[run] for run in demo.MODELS)
    assert all(scores[vote] > best + 0.05 for vote in (*demo.STAGE_1, demo.FINAL))
    assert f"{100 * (scores[demo.FINAL] - best):.1f} points above the best single member" in result.output
    for run in demo.PROPAGATED:
        assert "not predicted" in MaskRun.open(place.runs / run).manifest.producer
    assert (out / "contact_sheet.png").stat().st_size > 10_000


def test_a_demo_replaces_a_demo_and_nothing_else(tmp_path):
    place = demo.begin(tmp_path / "demo", seed=0)
    (place.root / "rubbish").write_text("of the demo before")
    assert not (demo.begin(tmp_path / "demo", seed=1).root / "rubbish").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "mine")])
    assert result.exit_code == 2
    assert "not of a demo" in result.output
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_every_object_is_seen_in_every_drawn_video_of_the_demo(tmp_path):
    draw_dataset(tmp_path / "data", seed=0)
    for annotation in open_annotations(tmp_path / "data" / "Annotations").values():
        seen = [objects_in(frame.labels) for frame in annotation.frames()]
        assert seen[0] == annotation.object_labels()
