"""The contract that every referring segmentation program of the workspace keeps (docs/architecture.md).

A new program is covered by being added: programs are found by their console script's name, `*-infer`.
"""

import hashlib
import json
import pickle
import shutil
import signal
import subprocess
import tomllib
import zipfile

import numpy as np
import pytest
from golden_cases import assert_same_track
from mask_interchange import MaskRun

from tests.drawn import FRAMES, SENTENCES, SIZE, draw_dataset
from tests.programs import assert_a_choice_is_asked_for, clean, programs

PROGRAMS = programs("-infer")


@pytest.fixture(params=PROGRAMS, ids=str, scope="module")
def program(request):
    return request.param


def infer(program, dataset, out, *more, **options):
    return program.run_forked("--dataset", dataset, "--out", out, *program.smoke, *more, **options)


@pytest.fixture(scope="module")
def finished(program, tmp_path_factory):
    """A finished run and its data set; for tests that only need one, as loading a model is what takes time."""
    folder = tmp_path_factory.mktemp(program.name)
    dataset = draw_dataset(folder / "data")
    result = program.run("--dataset", dataset, "--out", folder / "run", *program.smoke)
    assert result.returncode == 0, result.stderr
    return dataset, folder / "run"


@pytest.fixture
def own_copy(finished, tmp_path):
    """The finished run's data set, and a copy of the run that a test may change."""
    dataset, run = finished
    return dataset, shutil.copytree(run, tmp_path / "run")


def files(run):
    return {path.relative_to(run): path.read_bytes() for path in sorted(run.rglob("*.masks"))}


def test_help_is_quick_to_import_and_names_the_shared_options(program):
    result = program.run("--help")
    assert result.returncode == 0
    for option in [
        "--dataset",
        "--video",
        "--expression",
        "--out",
        "--checkpoint",
        "--weights",
        "--videos",
        "--device",
    ]:
        assert option in result.stdout, option


def test_help_does_not_load_the_network(program):
    code = f"import sys; sys.argv = ['{program.name}', '--help']\n"
    code += "from importlib.metadata import entry_points\n"
    code += f"main = next(e for e in entry_points(group='console_scripts') if e.name == '{program.name}').load()\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    result = subprocess.run([program.python, "-c", code], capture_output=True, text=True, env=clean())
    assert result.returncode == 0, result.stderr


def test_version(program):
    result = program.run_forked("--version")
    expected = tomllib.loads((program.member / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (result.returncode, result.stdout) == (0, f"{program.name} {expected}\n")


def test_a_dataset_becomes_a_run_that_others_can_read(finished):
    run = MaskRun.open(finished[1])
    assert run.videos() == ["aa11", "bb22"]
    assert run.manifest.checkpoint_sha256 is None
    assert run.manifest.dataset["fingerprint"]
    for video in run.videos():
        masks = run.read(video)
        assert masks.size == SIZE
        assert list(masks.frame_names) == FRAMES
        assert {track.expression.id: track.expression.text for track in masks.tracks} == SENTENCES
        assert [track.expression.group for track in masks.tracks] == ["1", "1", "2"]
        for track in masks.tracks:
            assert track.scores.dtype == np.float32
            assert np.all((track.scores >= 0) & (track.scores <= 1))
            assert track.key_frame == int(np.argmax(track.scores))
            assert track.stack().shape == (len(FRAMES), *SIZE)


def test_the_same_call_again_computes_nothing(program, own_copy):
    dataset, run = own_copy
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.masks")}
    assert infer(program, dataset, run).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.masks")}


def test_only_missing_videos_are_computed_and_the_same_seed_gives_the_same_bytes(program, own_copy):
    dataset, run = own_copy
    whole = files(run)
    before = (run / "videos" / "bb22.masks").stat().st_mtime_ns
    (run / "videos" / "aa11.masks").unlink()
    assert infer(program, dataset, run).returncode == 0
    assert files(run) == whole
    assert (run / "videos" / "bb22.masks").stat().st_mtime_ns == before


def test_other_settings_do_not_mix_into_a_run(program, own_copy):
    dataset, run = own_copy
    before = files(run)
    arguments = ["random:1" if argument.startswith("random:") else argument for argument in program.smoke]
    result = program.run_forked("--dataset", dataset, "--out", run, *arguments)
    assert result.returncode == 2
    assert "random:1" in result.stderr
    assert files(run) == before


def test_expressions_of_a_video_do_not_disturb_each_other(program, finished, dataset, tmp_path):
    meta = json.loads((dataset / "meta_expressions.json").read_text())
    for video in meta["videos"].values():
        video["expressions"] = {"2": video["expressions"]["2"]}
    (dataset / "meta_expressions.json").write_text(json.dumps(meta))
    assert infer(program, dataset, tmp_path / "alone").returncode == 0
    for video in ("aa11", "bb22"):
        one = MaskRun.open(tmp_path / "alone").read(video).track("2")
        other = MaskRun.open(finished[1]).read(video).track("2")
        assert_same_track(one, other)


def test_own_video_with_sentences_on_the_command_line(program, finished, tmp_path):
    """What is found of a sentence is what is found of it in a data set, in whatever company."""
    dataset, run = finished
    arguments = ["--video", dataset / "JPEGImages" / "aa11", "-e", SENTENCES["2"], "-e", "a disk"]
    result = program.run_forked(*arguments, "--out", tmp_path / "run", *program.smoke)
    assert result.returncode == 0, result.stderr
    masks = MaskRun.open(tmp_path / "run").read("aa11")
    assert [track.expression.text for track in masks.tracks] == [SENTENCES["2"], "a disk"]
    assert list(masks.frame_names) == FRAMES
    one, other = masks.tracks[0], MaskRun.open(run).read("aa11").track("2")
    assert_same_track(one, other)


def test_one_bad_video_does_not_stop_the_rest(program, dataset, tmp_path):
    (dataset / "JPEGImages" / "aa11" / f"{FRAMES[1]}.jpg").write_bytes(b"no picture")
    result = infer(program, dataset, tmp_path / "run")
    assert result.returncode == 1
    assert "aa11" in result.stderr
    assert FRAMES[1] in result.stderr
    assert MaskRun.open(tmp_path / "run").videos() == ["bb22"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda expression: expression.update(exp="  "), "empty"),
        (lambda expression: expression.pop("exp"), "exp"),
    ],
)
def test_a_faulty_expression_is_named(program, dataset, tmp_path, change, word):
    path = dataset / "meta_expressions.json"
    meta = json.loads(path.read_text())
    change(meta["videos"]["aa11"]["expressions"]["1"])
    path.write_text(json.dumps(meta))
    result = infer(program, dataset, tmp_path / "run")
    assert result.returncode in (1, 2)
    assert "aa11" in result.stderr
    assert word in result.stderr


def without_weights(program, dataset, out, *more):
    return program.run_forked("--dataset", dataset, "--out", out, *more)


def test_shipped_weights_are_used_when_none_are_chosen(program, dataset, tmp_path):
    if not program.demos:
        assert_a_choice_is_asked_for(without_weights(program, dataset, tmp_path / "run"))
        return
    default = next(iter(program.networks))
    for config, arguments in ((default, []), *((config, ["--config", config]) for config in program.networks)):
        out = tmp_path / f"{config}{len(arguments)}"
        result = without_weights(program, dataset, out, *arguments)
        assert result.returncode == 0, result.stderr
        assert f"{program.name}: weights: demo" in result.stderr
        run = MaskRun.open(out)
        assert run.videos() == ["aa11", "bb22"]
        assert run.manifest.checkpoint_sha256 == hashlib.sha256(program.networks[config].read_bytes()).hexdigest()
        assert run.manifest.settings["config"] == config


def test_weights_that_are_not_shipped_must_be_chosen(program, dataset, tmp_path):
    arguments = list(program.smoke)
    at = arguments.index("--weights")
    result = without_weights(program, dataset, tmp_path / "run", *arguments[:at], *arguments[at + 2 :])
    assert_a_choice_is_asked_for(result)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [[], ["--dataset", "absent"], ["--video", "absent.mp4", "-e", "a dog"]])
def test_wrong_use_is_exit_code_two_without_a_traceback(program, tmp_path, arguments):
    result = program.run_forked(*arguments, "--out", tmp_path / "run", *program.smoke, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_messages_may_be_json_lines(program, tmp_path):
    arguments = ["--dataset", "absent", "--out", tmp_path / "run", *program.smoke]
    result = program.run_forked(*arguments, "--log-json", cwd=tmp_path)
    assert result.returncode == 2
    last = json.loads(result.stderr.splitlines()[-1])
    assert last["level"] == "error"
    assert "absent" in last["message"]


def checkpoint_arguments(program, path):
    arguments = list(program.smoke)
    at = arguments.index("--weights")
    return [*arguments[:at], "--checkpoint", path, *arguments[at + 2 :]]


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_a_checkpoint_that_would_run_code_is_refused(program, dataset, tmp_path):
    target, path = tmp_path / "ran", tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w") as archive:  # the container that torch.save writes
        archive.writestr("bomb/data.pkl", pickle.dumps({"model": Bomb(target)}, protocol=2))
        archive.writestr("bomb/version", "3\n")
    result = program.run_forked("--dataset", dataset, "--out", tmp_path / "run", *checkpoint_arguments(program, path))
    assert result.returncode == 2, result.stderr
    assert "bomb.pth" in result.stderr
    assert not target.exists()


def test_a_checkpoint_that_is_none_is_refused(program, dataset, tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("not a checkpoint")
    result = program.run_forked("--dataset", dataset, "--out", tmp_path / "run", *checkpoint_arguments(program, path))
    assert result.returncode == 2
    assert "notes.pth" in result.stderr
    assert "Traceback" not in result.stderr


def test_worker_protocol(program, dataset, tmp_path):
    (dataset / "JPEGImages" / "aa11" / f"{FRAMES[0]}.jpg").unlink()
    result = infer(program, dataset, tmp_path / "run", "--videos", "-", stdin="bb22\naa11\nnowhere\n")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    ended = {event["video"]: event for event in events if event["event"] in ("done", "failed")}
    assert {event["event"] for event in events} <= {"started", "progress", "alive", "done", "failed"}
    assert next(event["video"] for event in events if event["event"] == "started") == "bb22"
    assert ended["bb22"]["event"] == "done"
    assert ended["aa11"]["event"] == "failed"
    assert FRAMES[0] in ended["aa11"]["error"]
    assert ended["nowhere"]["event"] == "failed"
    assert MaskRun.open(tmp_path / "run").videos() == ["bb22"]


def test_chosen_videos_only(program, dataset, tmp_path):
    assert infer(program, dataset, tmp_path / "run", "--videos", "bb22").returncode == 0
    assert MaskRun.open(tmp_path / "run").videos() == ["bb22"]
    result = infer(program, dataset, tmp_path / "run", "--videos", "bb2")
    assert result.returncode == 2
    assert "bb22" in result.stderr  # the message lists what there is


def test_interrupt_leaves_no_half_written_file(program, dataset, tmp_path):
    command = program.command("--dataset", dataset, "--out", tmp_path / "run", *program.smoke, "--videos", "-")
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean()
    )
    process.stdin.write("aa11\n")
    process.stdin.flush()
    for line in process.stdout:
        if json.loads(line)["event"] == "done":
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert [path.name for path in (tmp_path / "run" / "videos").iterdir()] == ["aa11.masks"]
    assert infer(program, dataset, tmp_path / "run").returncode == 0
    assert MaskRun.open(tmp_path / "run").videos() == ["aa11", "bb22"]


def test_two_programs_do_not_write_one_run(program, dataset, tmp_path):
    command = program.command("--dataset", dataset, "--out", tmp_path / "run", *program.smoke, "--videos", "-")
    first = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean(),
    )
    try:
        first.stdin.write("aa11\n")
        first.stdin.flush()
        assert json.loads(first.stdout.readline())["event"] == "started"
        second = infer(program, dataset, tmp_path / "run")
        assert second.returncode == 2
        assert str(tmp_path / "run") in second.stderr.replace("\n", "")
    finally:
        first.communicate(timeout=600)
    assert MaskRun.open(tmp_path / "run").videos() == ["aa11"]
