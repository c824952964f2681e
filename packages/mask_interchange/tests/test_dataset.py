"""Data sets as they are released, and as they are broken."""

import json
import os
import shutil
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mask_interchange import DatasetError, MaskError, open_dataset, open_video, read_expressions
from mask_interchange.faults import FaultKind
from mask_interchange.track import check_unique
from PIL import Image

META = {
    "videos": {
        "zebra": {
            "frames": ["00000", "00005"],
            "expressions": {"10": {"exp": "The Zebra  left", "obj_id": "3"}, "2": {"exp": "it runs", "obj_id": 4}},
        },
        "ant": {"frames": ["00010"], "expressions": {"0": {"exp": "an ant"}}},
    }
}


def write_meta(path: Path, tree: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))


def write_frames(folder: Path, tree: dict = META) -> None:
    for number, (video, entry) in enumerate(tree["videos"].items()):
        (folder / video).mkdir(parents=True)
        for frame in entry["frames"]:
            Image.new("RGB", (8, 6), (50 * number, 9, 9)).save(folder / video / f"{frame}.jpg")


@pytest.fixture
def flat(tmp_path):
    write_meta(tmp_path / "meta_expressions.json", META)
    write_frames(tmp_path / "JPEGImages")
    return tmp_path


def test_flat(flat):
    dataset = open_dataset(flat)
    assert list(dataset.videos) == ["zebra", "ant"], "the order of the file"
    video = dataset.videos["zebra"]
    assert video.frame_names == ("00000", "00005")
    assert video.size == (6, 8)
    assert len(video) == 2
    assert [(e.id, e.text, e.group) for e in video.expressions] == [
        ("10", "The Zebra  left", "3"),
        ("2", "it runs", "4"),
    ]
    assert dataset.videos["ant"].expressions[0].group is None
    assert dataset.check() == []
    assert "ant" in dataset.videos
    with pytest.raises(KeyError):
        dataset.videos["bee"]
    with pytest.raises(DatasetError, match="omit --split"):
        open_dataset(flat, "valid")


def test_frames(flat):
    video = open_dataset(flat).videos["ant"]
    frame = video.read_frame(0)
    assert frame.dtype == np.uint8
    assert frame.shape == (6, 8, 3)
    assert abs(int(frame[0, 0, 0]) - 50) < 6, "RGB, not BGR"
    np.testing.assert_array_equal(next(video.frames()), frame)
    assert list(open_dataset(flat).videos["zebra"].frames(1, 1)) == []
    assert len(list(open_dataset(flat).videos["zebra"].frames(1, 99))) == 1
    for i in (-1, 1):
        with pytest.raises(IndexError):
            video.read_frame(i)


def test_release(tmp_path):
    test_only = {"videos": {"ant": META["videos"]["ant"]}}
    write_meta(tmp_path / "meta_expressions/valid/meta_expressions.json", META)
    with pytest.raises(DatasetError, match="no split 'train', only valid"):
        open_dataset(tmp_path, "train")
    assert list(open_dataset(tmp_path).videos) == ["zebra", "ant"], "without a test file all are valid"
    write_meta(tmp_path / "meta_expressions/test/meta_expressions.json", test_only)
    write_frames(tmp_path / "valid/JPEGImages")
    with pytest.raises(DatasetError, match="choose one with --split: test, valid"):
        open_dataset(tmp_path)
    valid = open_dataset(tmp_path, "valid")
    assert list(valid.videos) == ["zebra"]
    assert valid.split == "valid"
    assert valid.check() == []
    test = open_dataset(tmp_path, "test")
    assert list(test.videos) == ["ant"]
    assert test.check() == [], "frames of test videos may lie in valid"
    (tmp_path / "test/JPEGImages").mkdir(parents=True)
    shutil.move(tmp_path / "valid/JPEGImages/ant", tmp_path / "test/JPEGImages/ant")
    assert open_dataset(tmp_path, "test").check() == [], "or in test"


def test_fingerprint_sees_ids_frames_and_sentences_only(flat):
    before = open_dataset(flat).fingerprint
    (flat / "JPEGImages/ant/00010.jpg").unlink()
    assert open_dataset(flat).fingerprint == before
    for change in (
        lambda tree: tree["videos"]["ant"]["frames"].append("00015"),
        lambda tree: tree["videos"]["ant"]["expressions"]["0"].update(exp="an  ant"),
        lambda tree: tree["videos"]["ant"]["expressions"]["0"].update(obj_id=1),
        lambda tree: tree["videos"].update(bee=tree["videos"].pop("ant")),
        lambda tree: tree.update(videos=dict(reversed(tree["videos"].items()))),
    ):
        tree = json.loads(json.dumps(META))
        change(tree)
        write_meta(flat / "meta_expressions.json", tree)
        assert open_dataset(flat).fingerprint != before


def test_check_lists_every_fault(flat):
    (flat / "JPEGImages/zebra/00005.jpg").unlink()
    Image.new("RGB", (9, 6)).save(flat / "JPEGImages/zebra/00000.jpg")
    shutil.rmtree(flat / "JPEGImages/ant")
    tree = json.loads(json.dumps(META))
    tree["videos"]["bee"] = {"frames": ["0"], "expressions": {"0": {"exp": ""}}}
    tree["videos"]["cow"] = {"frames": [], "expressions": {}}
    tree["videos"]["eel"] = {"frames": ["0", "1"], "expressions": {}}
    write_meta(flat / "meta_expressions.json", tree)
    (flat / "JPEGImages/eel").mkdir()
    Image.new("RGB", (9, 6)).save(flat / "JPEGImages/eel/0.png")
    Image.new("RGB", (9, 7)).save(flat / "JPEGImages/eel/1.png")
    faults = open_dataset(flat).check()
    expected = [
        "video 'zebra': frame '00005' is missing",
        "video 'ant': ",
        "video 'bee': expression '0': expected text with words",
        "video 'cow': expected at least one frame",
        "video 'eel': ",
        "video 'eel': has no expressions",
    ]
    assert len(faults) == len(expected)
    for fault, start in zip(faults, expected, strict=True):
        assert str(fault).startswith(start)
    assert "expected a folder of frames, found nothing" in str(faults[1])
    assert "found 9x7 in frame '1'" in str(faults[4])


def test_a_missing_folder_is_one_fault_and_a_missing_first_frame_not_one_of_all(flat):
    shutil.rmtree(flat / "JPEGImages/ant")
    (flat / "JPEGImages/zebra/00000.jpg").unlink()
    faults = open_dataset(flat).check()
    assert [(fault.kind, fault.frame) for fault in faults] == [
        (FaultKind.MISSING, "00000"),
        (FaultKind.NO_FRAMES, None),
    ]


def test_an_address_is_told_to_be_downloaded():
    for ask in (open_video, open_dataset):
        with pytest.raises(DatasetError, match=r"https:.*this is an address: download what is there"):
            ask("https://example.org/dog.mp4")
    with pytest.raises(DatasetError, match=r"frames$"):
        open_video("C:/dog.mp4", ["a"])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_half_a_picture_is_found_by_decoding(tmp_path, suffix):
    """Its header is sound."""
    for name in ("0", "1"):
        pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.{suffix}")
    half = tmp_path / f"1.{suffix}"
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (video,) = open_video(tmp_path, ["a"]).videos.values()
    assert video.check() == []
    (fault,) = video.check(decode=True)
    assert (fault.kind, fault.frame) == (FaultKind.UNREADABLE, "1")
    assert str(half) in str(fault)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "top level: expected an object, found a list"),
        ({}, "videos: expected an object, found no such key"),
        ({"videos": []}, "videos: expected an object, found a list"),
        ({"videos": {"a/b": {}, "a__b": {}}}, "expected every video id once, found 'a__b' again"),
    ],
)
def test_unknown_structure(tmp_path, tree, words):
    write_meta(tmp_path / "meta_expressions.json", tree)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path / "meta_expressions.json") in str(caught.value)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"videos": {"a": 3}}, "videos.a: expected an object, found a whole number"),
        ({"videos": {"a": {"frames": []}}}, "videos.a.expressions: expected an object"),
        ({"videos": {"a": {"expressions": {}}}}, "videos.a.frames: expected a list"),
        ({"videos": {"a": {"expressions": {}, "frames": {"0": 1}}}}, "videos.a.frames: expected a list"),
        ({"videos": {"a": {"expressions": {}, "frames": [3]}}}, "videos.a: frame id: expected text"),
        ({"videos": {"a": {"expressions": {}, "frames": ["../x"]}}}, "contains '/'"),
        ({"videos": {"a": {"expressions": {"x/y": {"exp": "d"}}, "frames": []}}}, "contains '/'"),
        ({"videos": {"a": {"expressions": {"0": "a dog"}, "frames": []}}}, "a.expressions.0: expected an object"),
        ({"videos": {"a": {"expressions": {"0": {}}, "frames": []}}}, "a.expressions.0.exp: expected text"),
        ({"videos": {"a": {"expressions": {"0": {"exp": 1}}, "frames": []}}}, "exp: expected text, found a whole"),
        ({"videos": {"a": {"expressions": {"0": {"exp": "d", "obj_id": {}}}, "frames": []}}}, "0.obj_id: expected"),
    ],
)
def test_a_video_of_unknown_structure_fails_alone(tmp_path, tree, words):
    write_meta(tmp_path / "meta_expressions.json", {"videos": tree["videos"] | {"ant": META["videos"]["ant"]}})
    videos = open_dataset(tmp_path).videos
    assert list(videos) == ["a", "ant"]
    assert videos["ant"].id == "ant"
    with pytest.raises(DatasetError) as caught:
        videos["a"]
    assert words in str(caught.value)
    assert str(tmp_path / "meta_expressions.json") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../x", "video id '..': begins with a dot"),
        ("CON", "is the name of a device on Windows"),
        ("ANT", "video ids 'ant' and 'ANT' are one file name on some systems"),
    ],
)
def test_a_video_of_a_bad_name_fails_alone(tmp_path, name, words):
    ant = META["videos"]["ant"]
    write_meta(tmp_path / "meta_expressions.json", {"videos": {"ant": ant, name: ant}})
    videos = open_dataset(tmp_path).videos
    sound, bad = videos
    assert videos[sound].id == "ant"
    with pytest.raises(DatasetError) as caught:
        videos[bad]
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_sentence_without_a_target_has_no_group(tmp_path):
    expression = {"exp": "a dog that is not there", "obj_id": []}
    write_meta(
        tmp_path / "meta_expressions.json", {"videos": {"a": {"frames": ["0"], "expressions": {"0": expression}}}}
    )
    assert open_dataset(tmp_path).videos["a"].expressions[0].group is None


def test_only_line_feeds_end_an_expression(tmp_path):
    (tmp_path / "lines.txt").write_text("a dog\u2028that runs\r\na\vcat\n", newline="")
    assert read_expressions(tmp_path / "lines.txt") == ["a dog\u2028that runs", "a\vcat"]


def test_many_repeated_names_are_found_at_once(tmp_path):
    """The check was quadratic: 20,000 frames, the last of which repeats, took 12 s. Counted here by comparisons."""
    compared = 0

    class Name(str):
        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

        def casefold(self):
            return self

    names = (*map(Name, range(2000)), Name(1999))
    with pytest.raises(MaskError, match="'1999' again"):
        check_unique("frame", names)
    assert compared < 10 * len(names)


@pytest.mark.parametrize("kind", ["dangling link", "loop", "folder", "pipe"])
def test_what_is_named_like_a_frame_but_is_no_file_is_a_fault_of_its_video(flat, kind):
    frame = flat / "JPEGImages/zebra/00000.jpg"
    frame.unlink(missing_ok=True)
    match kind:
        case "dangling link":
            frame.symlink_to(flat / "nothing")
        case "loop":
            frame.symlink_to(frame)
        case "folder":
            frame.mkdir()
        case "pipe":
            os.mkfifo(frame)
    video = open_dataset(flat).videos["zebra"]
    for ask in (lambda: video.read_frame(0), video.fingerprint, lambda: video.size):
        with pytest.raises(DatasetError, match="video 'zebra'"):
            ask()
    assert video.check()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"videos": {"caf\xe9": {}}}', "byte 0xe9 at offset 16"),
        (b'{"videos": ', "not JSON: Expecting value at line 1"),
        (b'{"videos": {"a": 1, "a": 2}}', "the key 'a' occurs twice"),
        (b"[" * 200_000, "inside each other"),
        (b"", "not JSON"),
    ],
)
def test_unreadable_descriptions(tmp_path, raw, words):
    (tmp_path / "meta_expressions.json").write_bytes(raw)
    with pytest.raises(DatasetError, match=words):
        open_dataset(tmp_path)


def test_a_byte_order_mark_is_no_fault(flat):
    path = flat / "meta_expressions.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(open_dataset(flat).videos) == 2


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="found nothing"):
        open_dataset(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="found a file"):
        open_dataset(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"found none of .*Ref-YouTube-VOS \(meta_expressions\.json"):
        open_dataset(tmp_path)


def test_objects_of_groups(flat):
    """MeViS gives lists of objects."""
    tree = json.loads(json.dumps(META))
    tree["videos"]["ant"]["expressions"]["0"]["obj_id"] = [4, 2]
    write_meta(flat / "meta_expressions.json", tree)
    assert open_dataset(flat).videos["ant"].expressions[0].group == "4+2"


# --- one's own frames -----------------------------------------------------------------------------------------------


def test_a_single_text_is_one_expression(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "0.png")
    (video,) = open_video(tmp_path, "the brown dog").videos.values()
    assert [(expression.id, expression.text) for expression in video.expressions] == [("0", "the brown dog")]


def test_folder_of_frames(tmp_path):
    for name, shade in [("f10.PNG", 30), ("f9.jpeg", 20), ("f1.jpg", 10)]:
        Image.new("L", (7, 5), shade).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._f1.jpg").touch()
    dataset = open_video(tmp_path, ["one", "two"])
    video = dataset.videos[tmp_path.name]
    assert video.frame_names == ("f1", "f9", "f10")
    assert [frame[0, 0, 0] for frame in video.frames()] == [10, 20, 30]
    assert [(e.id, e.text) for e in video.expressions] == [("0", "one"), ("1", "two")]
    before = dataset.fingerprint
    assert open_video(tmp_path, ["one", "two"]).fingerprint == before
    assert open_video(tmp_path, ["one"]).fingerprint != before
    Image.new("L", (7, 5), 11).save(tmp_path / "f1.jpg")
    assert open_video(tmp_path, ["one", "two"]).fingerprint != before, "one's own pixels count too"


def test_bad_folders(tmp_path):
    with pytest.raises(DatasetError, match="found none in the folder"):
        open_video(tmp_path, ["a"])
    Image.new("L", (7, 5)).save(tmp_path / "f1.jpg")
    Image.new("L", (7, 5)).save(tmp_path / "f1.png")
    with pytest.raises(DatasetError, match="'f1' again"):
        open_video(tmp_path, ["a"])


def test_sizes_differ(tmp_path):
    for i, width in enumerate([7, 7, 8]):
        Image.new("L", (width, 5)).save(tmp_path / f"{i}.png")
    video = open_video(tmp_path, ["a"]).videos[tmp_path.name]
    video.read_frame(1)
    with pytest.raises(DatasetError, match="expected 7x5 pixels as frame '0', found 8x5 in frame '2'"):
        video.read_frame(2)
    assert len(video.check()) == 1


def test_pixels_that_rgb_cannot_hold(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(DatasetError, match="8 bits a channel"):
        open_video(tmp_path).videos[tmp_path.name].read_frame(0)


def test_pixels_are_taken_as_stored(tmp_path):
    """As the published programs do: an EXIF orientation does not turn a data set's frame."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (7, 5)).save(tmp_path / "0.jpg", exif=exif)
    assert open_video(tmp_path).videos[tmp_path.name].size == (5, 7)
    video = open_video(tmp_path).videos[tmp_path.name]
    assert video.read_frame(0).shape == (5, 7, 3)
    (note,) = video.notes()
    assert "viewers turn it (EXIF orientation 6); frames are taken as stored" in note
    Image.new("RGB", (7, 5)).save(tmp_path / "0.jpg")
    assert open_video(tmp_path).videos[tmp_path.name].notes() == []


def test_huge_images_are_refused(tmp_path):
    """The size in a header is checked before any pixel is made."""
    path = tmp_path / "0.png"
    Image.new("L", (1, 1)).save(path)
    png = bytearray(path.read_bytes())
    for side, reason in [(12_000, "at most 67108864"), (60_000, "decompression bomb")]:
        png[16:24] = struct.pack(">II", side, side)
        png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
        path.write_bytes(png)
        with pytest.raises(DatasetError, match=reason):
            open_video(tmp_path).videos[tmp_path.name].read_frame(0)


def test_expression_files(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a dog\n  the second \n", encoding="utf-8")
    assert read_expressions(path) == ["a dog", "the second"]
    path.write_bytes(b"a dog\n\nx")
    with pytest.raises(DatasetError, match="line 2: expected an expression, found a blank line"):
        read_expressions(path)
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="empty file"):
        read_expressions(path)
    path.write_bytes(b"a d\xf6g")
    with pytest.raises(DatasetError, match="byte 0xf6 at offset 3"):
        read_expressions(path)


# --- real data ------------------------------------------------------------------------------------------------------


def test_the_real_validation_split(data):
    dataset = open_dataset(data / "rvos_meta/ref_youtube_vos", "valid")
    assert len(dataset.videos) == 202
    assert sum(len(video.expressions) for video in dataset.videos.values()) == 834
    assert len(open_dataset(data / "rvos_meta/ref_youtube_vos", "test").videos) == 305


def test_real_davis(data):
    dataset = open_dataset(data / "rvos_meta/ref_davis17")
    assert (dataset.split, len(dataset.videos)) == ("valid", 30)
    assert sum(len(video.expressions) for video in dataset.videos.values()) == 244
    groups = {(name, e.group) for name, video in dataset.videos.items() for e in video.expressions}
    assert len(groups) == 61
    mini = open_dataset(data / "davis_mini")
    assert mini.check() == []
    assert mini.videos["dog"].size == (480, 854)


# --- anything at all ------------------------------------------------------------------------------------------------


def places(tree, path=()):
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_wrong_value_anywhere_is_a_dataset_error(flat, data):
    tree = json.loads(json.dumps(META))
    *parents, last = data.draw(st.sampled_from([path for path in places(tree) if path]))
    node = tree
    for key in parents:
        node = node[key]
    node[last] = data.draw(anything)
    write_meta(flat / "meta_expressions.json", tree)
    with suppress(DatasetError):
        dataset = open_dataset(flat)
        dataset.check()
        for name in dataset.videos:
            list(dataset.videos[name].frames())


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_is_a_dataset_error(flat, data):
    path = flat / "JPEGImages/ant" / data.draw(st.sampled_from(["00010.jpg", "00010.png"]))
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    Image.new("RGB", (8, 6), (9, 200, 9)).save(path)
    raw = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with suppress(DatasetError):
        assert open_dataset(flat).videos["ant"].read_frame(0).dtype == np.uint8
