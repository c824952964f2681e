"""`fusion-core segment` with programs that only act: the recipe is carried out, and the result comes in every form."""

import json
import sys

import av
import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.recipe.toml import read_recipe
from fusion_core.running.context import DatasetSource, VideoSource, recorded_source
from fusion_core.running.provenance import ProvenanceStore
from mask_interchange import MaskRun, import_coco
from PIL import Image
from typer.testing import CliRunner

EXPRESSIONS = ("the man in red", "the dog", "a tree")


@pytest.fixture
def clip(tmp_path):
    """Three frames of 12x16 in a folder."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for t in range(3):
        pixels = np.random.default_rng(t).integers(0, 255, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{t:05d}.png")
    return folder


@pytest.fixture
def recipe(tmp_path, stage):
    """A file with the two members and the vote of the acted recipe."""
    acted = stage.recipe()
    path = tmp_path / "acted.toml"
    models = "".join(
        f"[model.{model.name}]\nprogram = {json.dumps(list(model.program))}\noptions = {{ seed = {seed} }}\n"
        f"memory = 0.1\n[predict.{model.name}]\nmodel = '{model.name}'\n"
        for seed, model in enumerate(acted.models[:2])
    )
    path.write_text(
        f'result = "voted"\n{models}[vote.voted]\nmembers = ["a", "b"]\nthreshold = 2\nleftover = "first"\n'
    )
    return path


def segment(clip, recipe, out, *more, expressions=EXPRESSIONS):
    options = [f"--expression={text}" for text in expressions]
    command = ["segment", str(clip), *options, "--recipe", str(recipe), "--out", str(out), *more]
    return CliRunner().invoke(app, command)


def test_every_form_of_the_result(clip, recipe, tmp_path):
    out = tmp_path / "out"
    result = segment(clip, recipe, out, "--weights", "random:0", "--fps", "12")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["coco.json", "masks", "overlay", "rgba", "runs"]
    assert "the man in red: on 3 of 3 frames" in result.stdout
    voted = MaskRun.open(out / "runs" / "voted").read("clip")
    assert [track.expression.text for track in voted.tracks] == list(EXPRESSIONS)
    with av.open(str(out / "overlay" / "clip.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height, frame.pts * frame.time_base * 12) for frame in frames] == [
        (16, 12, t) for t in range(3)
    ]
    (again,) = import_coco(out / "coco.json")
    assert [track.masks for track in again.tracks] == [track.masks for track in voted.tracks]
    for track in voted.tracks:
        for t in range(3):
            name = f"clip/{track.expression.id}/{t:05d}.png"
            grey = np.asarray(Image.open(out / "masks" / "Annotations" / name))
            cut = np.asarray(Image.open(out / "rgba" / name))
            np.testing.assert_array_equal(grey, 255 * track.mask(t))
            np.testing.assert_array_equal(cut[..., 3], grey)


def test_the_outcome_as_json(clip, recipe, tmp_path):
    out = tmp_path / "out"
    result = segment(clip, recipe, out, "--weights", "random:0", "--format", "coco", "--json", "--quiet")
    told = json.loads(result.stdout)
    assert told["written"] == [str(out / "coco.json")]
    assert told["found"][0] == {"expression": "the man in red", "found": 3, "frames": 3}
    assert len(told["found"]) == len(EXPRESSIONS)
    assert result.stderr == ""


def test_the_runs_say_what_they_were_made_on(clip, recipe, tmp_path, monkeypatch):
    """So that `view OUT` and `export` need no more words; a damaged record is none."""
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert segment(clip.relative_to(tmp_path), recipe, out, "--weights", "random:0").exit_code == 0
    served = []
    monkeypatch.setattr(
        "fusion_core.view.server.serve", lambda corrected, *_, **__: served.append(corrected.library.open(0))
    )
    monkeypatch.chdir(out)
    assert recorded_source(out / "runs") == VideoSource(path=clip, expressions=())
    shown = CliRunner().invoke(app, ["view", str(out), "--no-browser"])
    assert shown.exit_code == 0, shown.output
    assert [expression.text for expression in served[0].video.expressions] == list(EXPRESSIONS)
    assert CliRunner().invoke(app, ["view", str(out), "--runs", str(out)]).exit_code == 2
    (run, *_) = sorted(path.parent for path in (out / "runs").glob("*/run.json"))
    exported = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "cut-outs"), "--format", "rgba"])
    assert exported.exit_code == 0, exported.output
    for more in (["--split", "valid"], ["--damaged", "skip"]):
        command = ["export", str(run), "--out", str(tmp_path / "more"), "--format", "rgba", *more]
        assert "give --dataset ROOT or --video PATH" in " ".join(CliRunner().invoke(app, command).output.split())
    for text in ("{", '{"video": 3, "damaged": "stop"}', '{"video": "x", "damaged": "often"}', "[]"):
        (out / "runs" / ".recipe" / "source.json").write_text(text)
        assert recorded_source(out / "runs") is None
        refused = CliRunner().invoke(app, ["view", str(out)])
        assert refused.exit_code == 2
        assert "does not say what it was made on; give --dataset ROOT or --video PATH" in " ".join(
            refused.output.split()
        )
    clip.rename(tmp_path / "moved")
    (out / "runs" / ".recipe" / "source.json").write_text(json.dumps({"video": str(clip), "damaged": "stop"}))
    moved = CliRunner().invoke(app, ["view", str(out)])
    assert moved.exit_code == 2
    assert "no such video file or folder of frames" in " ".join(moved.output.split())


def test_a_data_set_is_recorded_too(tmp_path):
    store = ProvenanceStore(tmp_path)
    store.root.mkdir()
    for split in (None, "valid"):
        source = DatasetSource(root=tmp_path / "data", split=split)
        store.note_source(source.described())
        assert recorded_source(tmp_path) == source


def test_expressions_are_voted_one_by_one_unless_asked(clip, recipe, tmp_path):
    """Two expressions of a user are two objects: their votes do not pool, as those of a benchmark's pairs do."""
    assert segment(clip, recipe, tmp_path / "one", "--weights", "random:0").exit_code == 0
    runs = tmp_path / "one" / "runs"
    a, b, voted = (MaskRun.open(runs / name).read("clip") for name in ("a", "b", "voted"))
    for index in range(3):
        expected = a.tracks[index].stack() | b.tracks[index].stack()  # 2 of 4 is 1 of 2
        np.testing.assert_array_equal(voted.tracks[index].stack(), expected)
    options = ("--weights", "random:0", "--pairing", "consecutive")
    assert segment(clip, recipe, tmp_path / "two", *options).exit_code == 0
    paired = MaskRun.open(tmp_path / "two" / "runs" / "voted").read("clip")
    assert paired.tracks[0].masks == paired.tracks[1].masks != voted.tracks[0].masks


def test_the_same_command_again_and_with_other_expressions(clip, recipe, stage, tmp_path):
    out = tmp_path / "out"
    assert segment(clip, recipe, out, "--weights", "random:0").exit_code == 0
    first = (out / "coco.json").read_bytes()
    before = stage.log.read_text()
    assert segment(clip, recipe, out, "--weights", "random:0").exit_code == 0
    assert (out / "coco.json").read_bytes() == first
    assert stage.log.read_text() == before  # nothing was computed again
    result = segment(clip, recipe, out, "--weights", "random:0", expressions=("a cat",))
    assert result.exit_code == 0, result.output
    (again,) = import_coco(out / "coco.json")
    assert [track.expression.text for track in again.tracks] == ["a cat"]
    assert sorted(path.name for path in (out / "rgba" / "clip").iterdir()) == ["0"]


def test_another_video_does_not_replace_the_result(clip, recipe, tmp_path):
    out = tmp_path / "out"
    assert segment(clip, recipe, out, "--weights", "random:0").exit_code == 0
    before = (out / "coco.json").read_bytes()
    other = clip.with_name(f"other{clip.suffix}")
    clip.rename(other)
    result = segment(other, recipe, out, "--weights", "random:0")
    assert result.exit_code == 2
    assert f"{out}: holds the result of --video {clip}; give another folder with --out" in result.output
    assert (out / "coco.json").read_bytes() == before


def test_a_missing_video_is_said_before_missing_weights(tmp_path):
    result = CliRunner().invoke(
        app, ["segment", str(tmp_path / "no.mp4"), "-e", "a dog", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "no such video file or folder of frames" in result.output


@pytest.mark.parametrize(("form", "extra"), [("yolo", "supervision"), ("exr", "exr"), ("rerun", "rerun")])
def test_a_missing_extra_is_said_before_anything_is_computed(clip, recipe, tmp_path, monkeypatch, form, extra):
    monkeypatch.setitem(sys.modules, f"fusion_core.rendering.{extra}", None)
    out = tmp_path / "out"
    result = segment(clip, recipe, out, "--weights", "random:0", "--format", f"coco,{form}")
    assert result.exit_code == 2
    assert f"--extra {extra} fusion-core" in result.output
    assert not out.exists()


def test_the_recipe_of_drawn_shapes_says_what_it_knows(clip, recipe, tmp_path, monkeypatch):
    acted = read_recipe(recipe)
    monkeypatch.setattr("fusion_core.recipe.named.find_recipe", lambda name: acted)
    result = segment(clip, "demo", tmp_path / "out", "--weights", "random:0")
    assert result.exit_code == 0, result.output
    assert "note: recipe demo: its weights know drawn shapes only" in result.stderr
    assert "drawn shapes" not in segment(clip, recipe, tmp_path / "other", "--weights", "random:0").stderr


def test_wrong_use(clip, recipe, tmp_path):
    out = tmp_path / "out"
    result = segment(clip, recipe, out, expressions=())
    assert result.exit_code == 2
    assert "--expression" in result.output
    result = segment(clip, recipe, out)
    assert result.exit_code == 2
    assert "no weights for a, b" in result.output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = segment(clip, recipe, tmp_path / "mine", "--weights", "random:0")
    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_program_that_fails_is_named_and_nothing_is_rendered(clip, recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace('"--log"', '"--fail", "clip", "--log"', 1))
    result = segment(clip, recipe, tmp_path / "out", "--weights", "random:0")
    assert result.exit_code == 1, result.output
    assert "failed: a: clip" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["runs"]


def test_a_long_video_is_cut_into_windows_and_that_is_said(clip, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("fusion_core.recipe.windows.WINDOW", 2)
    recipe.write_text(recipe.read_text().replace("memory = 0.1", "memory = 0.1\nframe_memory = 1e5", 1))
    result = segment(clip, recipe, tmp_path / "out", "--weights", "random:0")
    assert (
        "note: a takes the video in windows of 2 frames: 3 frames at once would need about 293.1 GiB" in result.stderr
    )
    assert result.exit_code == 1, "the program that acts has no such option"
    assert "--window" in result.output
