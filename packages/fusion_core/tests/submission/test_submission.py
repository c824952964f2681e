import io
import json
import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.errors import SubmissionError
from fusion_core.submission.archive import MAX_PNG
from fusion_core.submission.checker import check_submission
from fusion_core.submission.findings import Kind
from fusion_core.submission.forms import FORMS
from fusion_core.submission.writer import mask_png, write_submission
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from mask_interchange.png_folders import import_annotations
from PIL import Image
from typer.testing import CliRunner

SIZE = (12, 16)
FRAMES = ("00000", "00005", "00010")
VIDEOS = {"dog": ("0", "1"), "cat": ("0",)}
MASK = np.zeros(SIZE, bool)
MASK[3:8, 4:12] = True
PNG = mask_png(MASK)


def sound():
    """Entries of a faultless submission for `dataset`."""
    return {
        f"Annotations/{video}/{expression}/{frame}.png": PNG
        for video, expressions in VIDEOS.items()
        for expression in expressions
        for frame in FRAMES
    }


def zipped(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def png(pixels, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)
    image.save(file, "PNG")
    return file.getvalue()


def grey(value, size=SIZE):
    return png(np.full(size, value, np.uint8))


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "data"
    meta = {
        video: {"expressions": {e: {"exp": f"expression {e}"} for e in expressions}, "frames": list(FRAMES)}
        for video, expressions in VIDEOS.items()
    }
    root.mkdir()
    (root / "meta_expressions.json").write_text(json.dumps({"videos": meta}))
    for video in VIDEOS:
        (root / "JPEGImages" / video).mkdir(parents=True)
        for frame in FRAMES:
            Image.new("RGB", SIZE[::-1]).save(root / "JPEGImages" / video / f"{frame}.jpg")
    return open_dataset(root)


@pytest.fixture
def run(tmp_path):
    manifest = RunManifest(
        producer="test", producer_version="1", dataset={"name": "test", "split": None, "fingerprint": None}
    )
    made = MaskRun.create(tmp_path / "run", manifest)
    rng = np.random.default_rng(0)
    for video, expressions in VIDEOS.items():
        tracks = tuple(MaskTrack.from_masks(Expression(id=e), rng.random((3, *SIZE)) > 0.7) for e in expressions)
        made.write(VideoMasks(video=video, size=SIZE, frame_names=FRAMES, tracks=tracks))
    return made


def faults(report):
    return {(finding.kind, finding.where) for finding in report.faults}


# --- writing --------------------------------------------------------------------------------------------------------


def test_a_written_submission_is_faultless_and_holds_the_masks(run, dataset, tmp_path):
    path = tmp_path / "out" / "submission.zip"
    assert write_submission(run, path, dataset) == 9
    report = check_submission(path, dataset)
    assert (report.findings, report.masks, report.videos) == ([], 9, 2)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unzipped")
    for masks in import_annotations(tmp_path / "unzipped"):
        assert masks == run.read(masks.video)


def test_each_challenge_has_its_own_folders(run, dataset, tmp_path):
    tops = {"ref-youtube-vos": "Annotations", "mevis": ""}
    for name, form in FORMS.items():
        path = tmp_path / f"{name}.zip"
        assert write_submission(run, path, dataset, form=form) == 9
        names = zipfile.ZipFile(path).namelist()
        assert {"/".join(one.split("/")[:-3]) for one in names} == {tops[name]}
        for other in FORMS.values():
            found = check_submission(path, dataset, form=other)
            if other is form:
                assert found.findings == []
            else:
                assert [finding.kind for finding in found.findings] == [Kind.WRONG_TOP], "and no other"
                assert f"9 masks lie there, not at {other.layout}" in found.findings[0].detail


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    write_submission(run, first)
    write_submission(run, second)
    assert first.read_bytes() == second.read_bytes()
    assert [info.date_time[0] for info in zipfile.ZipFile(first).infolist()] == [1980] * 9


def test_only_what_is_asked_for_is_written(run, dataset, tmp_path):
    extra = run.read("dog")
    run.write(VideoMasks(video="cow", size=SIZE, frame_names=FRAMES, tracks=extra.tracks))
    assert write_submission(run, tmp_path / "asked.zip", dataset) == 9
    assert write_submission(run, tmp_path / "all.zip") == 15


def test_an_incomplete_run_is_refused_and_leaves_no_file(run, dataset, tmp_path):
    cat = run.read("cat")
    (run.path / "videos" / "cat.masks").unlink()
    with pytest.raises(SubmissionError, match="lacks 1 of 2 videos: cat"):
        write_submission(run, tmp_path / "x.zip", dataset)
    run.write(VideoMasks(video="cat", size=SIZE, frame_names=("00000", "00005", "00011"), tracks=cat.tracks))
    with pytest.raises(SubmissionError, match="video cat: the run lacks 1 frames: 00010"):
        write_submission(run, tmp_path / "x.zip", dataset)
    run.write(VideoMasks(video="cat", size=SIZE, frame_names=FRAMES, tracks=()))
    with pytest.raises(SubmissionError, match="video cat: the run lacks 1 expressions: 0"):
        write_submission(run, tmp_path / "x.zip", dataset)
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_damaged_run_leaves_the_old_submission_alone(run, tmp_path):
    path = tmp_path / "x.zip"
    write_submission(run, path)
    before = path.read_bytes()
    (run.path / "videos" / "dog.masks").write_bytes(b"no masks")
    with pytest.raises(Exception, match=r"dog\.masks"):
        write_submission(run, path)
    assert path.read_bytes() == before


# --- single faults --------------------------------------------------------------------------------------------------


def truncated(data):
    return data[: len(data) * 2 // 3]


def with_pixels(data, width, height):
    """A PNG whose header claims another size, with a valid checksum."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


DOG = "Annotations/dog/0/00005.png"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Kind.WRONG_VALUE, grey(1)),
        (Kind.WRONG_VALUE, png(np.arange(12 * 16, dtype=np.uint8).reshape(SIZE))),
        (Kind.WRONG_MODE, png(MASK)),  # one bit per pixel
        (Kind.WRONG_MODE, png(np.uint8(MASK), "P")),
        (Kind.WRONG_MODE, png(np.uint8(MASK) * 255, "RGB")),
        (Kind.WRONG_MODE, png(np.uint8(MASK) * 255, "RGBA")),
        (Kind.WRONG_MODE, png(np.uint8(MASK) * 255, "LA")),
        (Kind.WRONG_MODE, png(np.uint16(MASK) * 65535)),
        (Kind.WRONG_SIZE, grey(255, (12, 15))),
        (Kind.UNREADABLE, b""),
        (Kind.UNREADABLE, b"no picture"),
        (Kind.UNREADABLE, truncated(PNG)),
        (Kind.UNREADABLE, PNG[:33]),
        (Kind.UNREADABLE, with_pixels(PNG, 17, 12)),
        (Kind.TOO_LARGE, with_pixels(PNG, 100_000, 100_000)),
        (Kind.TOO_LARGE, bytes(MAX_PNG + 1)),
        (Kind.TOO_LARGE, PNG + bytes(2**21)),
    ],
)
@pytest.mark.parametrize("with_dataset", [True, False])
def test_a_faulty_mask_is_found(dataset, tmp_path, kind, content, with_dataset):
    path = zipped(tmp_path / "x.zip", sound() | {DOG: content})
    report = check_submission(path, dataset if with_dataset else None)
    where = DOG if kind is not Kind.WRONG_SIZE else "dog/0/00005"
    assert faults(report) == {(kind, where)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Annotations/dog/../../../etc/passwd.png", Kind.UNSAFE_NAME),
        ("/Annotations/dog/0/00005.png", Kind.UNSAFE_NAME),
        ("C:/Annotations/dog/0/00005.png", Kind.UNSAFE_NAME),
        ("Annotations//dog/0/00005.png", Kind.UNSAFE_NAME),
        ("Annotations/dog/0/000\x0705.png", Kind.UNSAFE_NAME),
        ("Annotations/dog/00005.png", Kind.WRONG_DEPTH),
        ("Annotations/dog/0/0/00005.png", Kind.WRONG_DEPTH),
        ("00005.png", Kind.WRONG_DEPTH),
        ("Annotations/readme.txt", Kind.UNEXPECTED_FILE),
        ("__MACOSX/Annotations/dog/0/._00005.png", Kind.UNEXPECTED_FILE),
        ("Annotations/.DS_Store", Kind.UNEXPECTED_FILE),
    ],
)
def test_a_faulty_name_is_found_and_nothing_else(dataset, tmp_path, name, kind):
    report = check_submission(zipped(tmp_path / "x.zip", sound() | {name: PNG}), dataset)
    assert {finding.kind for finding in report.faults} == {kind}


@pytest.mark.parametrize(
    ("change", "top"), [("x/Annotations", "x/Annotations/"), ("masks", "masks/"), ("", "top of the")]
)
def test_a_wrong_top_folder_is_one_fault_and_the_rest_is_still_checked(dataset, tmp_path, change, top):
    entries = {name.replace("Annotations", change).lstrip("/"): data for name, data in sound().items()}
    bad = next(name for name in entries if "dog/0/00005" in name)
    report = check_submission(zipped(tmp_path / "x.zip", entries | {bad: grey(7)}), dataset)
    assert [finding.kind for finding in report.faults] == [Kind.WRONG_TOP, Kind.WRONG_VALUE]
    assert report.faults[0].where.startswith(top)
    assert report.faults[0].detail == "9 masks lie there, not at Annotations/<video>/<expression>/<frame>.png"


def test_backslashes_are_named_and_read_as_folders(dataset, tmp_path):
    entries = {name.replace("/", "\\"): data for name, data in sound().items()}
    report = check_submission(zipped(tmp_path / "x.zip", entries), dataset)
    assert {finding.kind for finding in report.faults} == {Kind.UNSAFE_NAME}
    assert report.masks == 9


def test_a_name_that_begins_with_a_zero_byte_is_unsafe(tmp_path):
    path = zipped(tmp_path / "x.zip", {DOG: PNG})
    path.write_bytes(path.read_bytes().replace(DOG.encode(), b"\0" + DOG.encode()[1:]))
    assert [finding.detail for finding in check_submission(path).faults] == ["control characters"]


def test_links_and_special_files_are_unsafe(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in {
            "Annotations/dog/0/link.png": stat.S_IFLNK,
            "Annotations/dog/0/pipe.png": stat.S_IFIFO,
        }.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    assert [str(finding).split(": ")[-1] for finding in check_submission(path).faults] == [
        "a symbolic link",
        "a special file",
    ]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_are_found(dataset, tmp_path):
    path = tmp_path / "x.zip"
    zipped(path, sound())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(DOG, grey(255))
    assert faults(check_submission(path, dataset)) == {(Kind.DUPLICATE, DOG)}


def test_encrypted_and_exotic_entries_are_unreadable(tmp_path):
    path = zipped(tmp_path / "bz2.zip", sound(), zipfile.ZIP_BZIP2)
    assert all("use deflate" in finding.detail for finding in check_submission(path).faults)
    data = bytearray(zipped(tmp_path / "x.zip", {DOG: PNG}).read_bytes())
    for signature, offset in {b"PK\x03\x04": 6, b"PK\x01\x02": 8}.items():
        data[data.index(signature) + offset] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert [finding.detail for finding in check_submission(tmp_path / "x.zip").faults] == ["encrypted"]


# --- completeness ---------------------------------------------------------------------------------------------------


def test_everything_missing_or_too_much_is_listed(dataset, tmp_path):
    entries = sound()
    for name in [*entries]:
        if "/cat/" in name or "/dog/1/" in name:
            del entries[name]
    del entries[DOG]
    entries |= {f"Annotations/{place}.png": PNG for place in ("cow/0/00000", "dog/7/00000", "dog/0/00001")}
    report = check_submission(zipped(tmp_path / "x.zip", entries), dataset)
    assert {(str(finding.kind), str(finding)) for finding in report.faults} == {
        ("missing video", "cat"),
        ("video that is not asked for", "cow"),
        ("missing expression", "dog/1"),
        ("expression that is not asked for", "dog/7"),
        ("missing frames", "dog/0: 1: 00005"),
        ("frames that are not asked for", "dog/0: 1: 00001"),
    }


def test_without_a_data_set_expressions_of_a_video_are_compared(tmp_path):
    entries = sound()
    del entries[DOG]
    report = check_submission(zipped(tmp_path / "x.zip", entries | {"Annotations/dog/1/00000.png": grey(255, (5, 5))}))
    assert faults(report) == {(Kind.MISSING_FRAME, "dog/0"), (Kind.WRONG_SIZE, "dog/1/00000")}
    assert not report.complete


def test_sizes_are_those_of_the_frames_even_if_all_masks_agree(dataset, tmp_path):
    entries = {name: grey(0, (6, 8)) if "/cat/" in name else data for name, data in sound().items()}
    path = zipped(tmp_path / "x.zip", entries)
    assert {finding.detail for finding in check_submission(path, dataset).faults} == {
        "8 x 6 pixels; the video's frames are 16 x 12"
    }
    for image in (dataset.root / "JPEGImages" / "cat").iterdir():
        image.unlink()
    assert check_submission(path, dataset).faults == []


def test_all_empty_and_all_white_expressions_are_warnings(dataset, tmp_path):
    entries = {name: grey({"cat/0": 0, "dog/0": 255}.get(name[12:17], 255 * (name[-5] == "0"))) for name in sound()}
    report = check_submission(zipped(tmp_path / "x.zip", entries), dataset)
    assert report.faults == []
    assert [(finding.kind, finding.where) for finding in report.warnings] == [
        (Kind.ALL_EMPTY, "cat/0"),
        (Kind.ALL_WHITE, "dog/0"),
    ]


# --- files that are no submissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + bytes(10), b"PK\x03\x04" * 9])
def test_what_is_no_zip_file_is_said(tmp_path, data):
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    assert [finding.kind for finding in check_submission(path).faults] == [Kind.NOT_A_ZIP]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SubmissionError, match="No such file"):
        check_submission(tmp_path / "x.zip")


def test_numbers_of_any_length_in_names(dataset, tmp_path):
    """They are sorted as numbers; Python itself makes none of more than 4,300 digits."""
    long = f"Annotations/dog/0/{'9' * 5000}.png"
    report = check_submission(zipped(tmp_path / "x.zip", sound() | {long: PNG}), dataset)
    assert {finding.kind for finding in report.faults} == {Kind.EXTRA_FRAME}


def test_a_mask_whose_colour_profile_is_empty_is_unreadable(tmp_path):
    """PIL raises IndexError for it."""
    at = PNG.index(b"IEND") - 4
    profile = b"\0\0\0\0iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    report = check_submission(zipped(tmp_path / "x.zip", {DOG: PNG[:at] + profile + PNG[at:]}))
    assert faults(report) == {(Kind.UNREADABLE, DOG)}


def test_an_enormous_table_of_contents_is_not_read(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**30, 0, 0))
    (finding,) = check_submission(path).faults
    assert finding.kind is Kind.TOO_LARGE
    assert "table of contents" in finding.detail


def test_an_entry_that_lies_about_its_size_is_unreadable(tmp_path):
    data = bytearray(zipped(tmp_path / "x.zip", {DOG: PNG}).read_bytes())
    for signature, offset in {b"PK\x03\x04": 22, b"PK\x01\x02": 24}.items():
        struct.pack_into("<I", data, data.index(signature) + offset, 20)
    (tmp_path / "x.zip").write_bytes(data)
    assert [finding.kind for finding in check_submission(tmp_path / "x.zip").faults] == [Kind.UNREADABLE]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_makes_the_checker_fail(tmp_path, data):
    content = bytearray(zipped(tmp_path / "x.zip", {DOG: PNG, "Annotations/dog/1/00005.png": grey(255)}).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["change", "cut", "remove", "insert"])):
            case "change":
                content[position] = data.draw(st.integers(0, 255))
            case "cut":
                content = content[: position + 1]
            case "remove":
                del content[position : position + data.draw(st.integers(0, 8))]
            case "insert":
                content[position:position] = data.draw(st.binary(max_size=8))
        content = content or bytearray(b"\0")
    path = tmp_path / "damaged.zip"
    path.write_bytes(content)
    report = check_submission(path)
    assert all(isinstance(finding.kind, Kind) and finding.where for finding in report.findings)


PARTS = st.sampled_from(["Annotations", "dog", "0", "00000.png", "..", ".", "", "a\\b", "C:", "x.PNG", "é", "\x01"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PARTS, min_size=1, max_size=6).map("/".join), unique=True, max_size=6))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_makes_the_checker_fail_or_write(tmp_path, names):
    path = tmp_path / "x.zip"
    zipped(path, dict.fromkeys(filter(None, names), PNG))
    before = sorted(tmp_path.rglob("*"))
    report = check_submission(path)
    assert report.masks <= len(names)
    assert sorted(tmp_path.rglob("*")) == before


# --- the commands ---------------------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_submit_and_check_from_the_command_line(run, dataset, tmp_path):
    path = tmp_path / "submission.zip"
    written = invoke("submit", run.path, "--out", path, "--dataset", dataset.root)
    assert written.exit_code == 0, written.output
    assert "wrote 9 masks" in written.output
    checked = invoke("check-submission", path, "--dataset", dataset.root)
    assert checked.exit_code == 0, checked.output
    assert "0 faults, 0 warnings" in checked.output


def test_faults_are_grouped_and_exit_1(dataset, tmp_path):
    entries = {name: grey(3) for name in sound()} | {f"Annotations/cow/{e}/0.png": PNG for e in range(12)}
    path = zipped(tmp_path / "x.zip", entries)
    text = invoke("check-submission", path, "--dataset", dataset.root)
    assert text.exit_code == 1
    assert "FAULT: values other than 0 and 255 (9)" in text.output
    assert "FAULT: video that is not asked for (1)\n    cow\n" in text.output
    tree = json.loads(invoke("check-submission", path, "--dataset", dataset.root, "--json").stdout)
    assert tree["faults"] == 10
    assert len(tree["findings"]["values other than 0 and 255"]) == 9


def test_a_long_list_is_cut_in_the_text_only(tmp_path):
    path = zipped(tmp_path / "x.zip", {f"Annotations/cow/{e}/0.png": grey(e + 1) for e in range(12)})
    assert "and 2 more; --json lists all" in invoke("check-submission", path).output
    assert len(json.loads(invoke("check-submission", path, "--json").stdout)["findings"][Kind.WRONG_VALUE]) == 12


def test_missing_files_exit_2(run, tmp_path):
    assert invoke("check-submission", tmp_path / "x.zip").exit_code == 2
    assert invoke("submit", tmp_path / "nothing", "--out", tmp_path / "x.zip", "--partial").exit_code == 2


def test_an_unfinished_run_is_written_only_if_asked_for(run, dataset, tmp_path):
    (run.path / "videos" / f"{run.videos()[0]}.masks").unlink()
    path = tmp_path / "x.zip"
    for arguments in ((), ("--dataset", dataset.root), ("--dataset", dataset.root, "--partial")):
        result = invoke("submit", run.path, "--out", path, *arguments)
        assert result.exit_code == 2, result.output
        assert not path.exists()
    assert "--partial" in invoke("submit", run.path, "--out", path).output
    assert "not both" in invoke("submit", run.path, "--out", path, "--partial", "--dataset", dataset.root).output
    result = invoke("submit", run.path, "--out", path, "--partial")
    assert result.exit_code == 0, result.output
    assert "was not checked" in result.stdout
    assert check_submission(path).videos == 1
