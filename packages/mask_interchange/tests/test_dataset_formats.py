"""Every data set where it lies, as it is downloaded."""

import json
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import DatasetError, import_annotations, open_dataset
from mask_interchange.dataset_formats import FORMATS
from mask_interchange.dataset_formats.ref_davis17 import FILES
from mask_interchange.faults import FaultKind
from mask_interchange.ground_truth import mask_lists
from mask_interchange.json_files import read_json
from PIL import Image

FRAMES = ["00000", "00005", "00010"]


def write_json(path: Path, tree: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
    return path


def write_frames(folder: Path, names: list[str] = FRAMES) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / f"{name}.jpg")


def described(*expressions: dict, frames: list[str] = FRAMES, video: str = "dog") -> dict:
    texts = {str(k): {"exp": f"thing {k}"} | one for k, one in enumerate(expressions)}
    return {"videos": {video: {"frames": frames, "expressions": texts}}}


def told(dataset, video: str = "dog") -> list[tuple]:
    return [(one.id, one.text, one.group) for one in dataset.videos[video].expressions]


# --- Ref-YouTube-VOS --------------------------------------------------------------------------------------------------


def test_ref_youtube_vos_of_2026(tmp_path):
    write_json(tmp_path / "valid/meta_expressions.json", described({}, {}))
    write_json(tmp_path / "valid/meta_expressions_challenge.json", described({"obj_id": "2"}, {"obj_id": "2"}))
    write_json(tmp_path / "train/meta_expressions.json", described({"obj_id": "1"}))
    write_frames(tmp_path / "valid/JPEGImages/dog")
    (tmp_path / "valid/Annotations").mkdir()
    valid = open_dataset(tmp_path, "valid")
    assert told(valid) == [("0", "thing 0", "2"), ("1", "thing 1", "2")], "the file that names the objects"
    assert valid.check() == []
    assert valid.truth.path == tmp_path / "valid/Annotations"
    assert valid.truth.targets == {"dog": {"0": ("2",), "1": ("2",)}}
    assert told(open_dataset(tmp_path / "valid")) == told(valid), "the folder of the split by itself"
    assert told(open_dataset(tmp_path, "train")) == [("0", "thing 0", "1")]


def test_the_first_form_of_ref_youtube_vos_has_the_ids_of_the_later_one(tmp_path):
    objects = {
        "2": {"category": "dog", "frames": ["00005", "00010"], "expressions": ["a dog", "it sits"]},
        "10": {"category": "cat", "frames": ["00000"], "expressions": ["a cat"], "expressions_first_frame": ["cat"]},
    }
    write_json(tmp_path / "meta_expressions_valid.json", {"videos": {"dog": {"objects": objects}}})
    write_frames(tmp_path / "JPEGImages/dog")
    dataset = open_dataset(tmp_path, "valid")
    assert told(dataset) == [("0", "a dog", "2"), ("1", "it sits", "2"), ("2", "a cat", "10")]
    assert dataset.videos["dog"].frame_names == tuple(FRAMES)
    assert dataset.check() == []


def test_the_real_files_of_both_forms_agree(data):
    real = data / "rvos_meta/ref_youtube_vos"
    later = open_dataset(real, "valid")
    others = open_dataset(real, "test")
    first = json.loads((real / "valid_objects.json").read_text())["videos"]
    assert (len(later.videos), len(others.videos), len(first)) == (202, 305, 507)
    for dataset in (later, others):
        for video in dataset.videos:
            texts = [text for one in first[video]["objects"].values() for text in one["expressions"]]
            assert [one.text for one in dataset.videos[video].expressions] == texts, video


# --- sets with masks as run lengths -----------------------------------------------------------------------------------

BOX = {"size": [6, 8], "counts": [0, 6, 42]}


@pytest.mark.parametrize("name", ["meta_expressions.json", "meta_expressions_v2.json"])
def test_mevis(tmp_path, name):
    several, nothing = {"obj_id": [0, 1], "anno_id": [7, 8]}, {"obj_id": [], "anno_id": []}
    write_json(tmp_path / "valid_u" / name, described(several, nothing))
    write_json(tmp_path / "valid_u/mask_dict.json", {"7": [BOX, None, None], "8": [None, BOX, BOX]})
    release = name.replace("v2", "v2_release")
    write_json(tmp_path / "valid" / release, described({}))
    for split in ("valid", "valid_u"):
        write_frames(tmp_path / split / "JPEGImages/dog")
    dataset = open_dataset(tmp_path, "valid_u")
    assert told(dataset) == [("0", "thing 0", "0+1"), ("1", "thing 1", None)]
    assert dataset.truth.path == tmp_path / "valid_u/mask_dict.json"
    assert dataset.truth.targets == {"dog": {"0": ("7", "8"), "1": ()}}
    assert dataset.check() == []
    hidden = open_dataset(tmp_path, "valid")
    assert hidden.check() == []
    assert hidden.truth is None
    assert told(open_dataset(tmp_path / "valid_u")) == told(dataset)


def test_both_versions_of_mevis_in_one_folder(tmp_path):
    first = write_json(tmp_path / "valid_u/meta_expressions.json", described({}))
    write_json(tmp_path / "valid_u/meta_expressions_v2.json", described({}, {}))
    write_frames(tmp_path / "valid_u/JPEGImages/dog")
    with pytest.raises(DatasetError, match=r"several descriptions .* give the path of one"):
        open_dataset(tmp_path)
    assert len(told(open_dataset(first))) == 1
    assert open_dataset(first).check() == []


def test_revos_names_videos_by_folders(tmp_path):
    tree = described({"obj_id": [3], "anno_id": [44], "type_id": 1}, video="UVO/all/dog")
    write_json(tmp_path / "meta_expressions_valid_.json", tree)
    write_json(tmp_path / "meta_expressions_train_.json", described({}))
    write_json(tmp_path / "mask_dict.json", {"44": [None, None, BOX]})
    write_frames(tmp_path / "JPEGImages/UVO/all/dog")
    dataset = open_dataset(tmp_path, "valid")
    assert list(dataset.videos) == ["UVO__all__dog"]
    assert dataset.check() == []
    assert dataset.truth.targets["UVO__all__dog"] == {"0": ("44",)}


@pytest.mark.parametrize("name", ["../dog", "a//b", "/dog", "a/../../dog"])
def test_names_of_videos_do_not_lead_out(tmp_path, name):
    write_json(tmp_path / "meta_expressions_valid_.json", described({}, video=name))
    write_frames(tmp_path / "dog")
    (tmp_path / "JPEGImages/a").mkdir(parents=True)
    (fault,) = open_dataset(tmp_path).check()
    assert "it becomes part of a file name" in str(fault)


def test_mask_lists_are_checked_where_they_are_read(tmp_path):
    path = write_json(tmp_path / "mask_dict.json", {"7": [BOX, None], "8": [{"size": [6, 8]}]})
    lists = mask_lists(*read_json(path))
    size, counts = lists["7"].counts()
    assert size == (6, 8)
    assert [mask is None for mask in counts] == [False, True]
    with pytest.raises(DatasetError, match=r"mask_dict\.json: 8\[0\]\.counts: expected a list, found no such key"):
        lists["8"].counts()
    with pytest.raises(DatasetError, match=r"7: expected a list, found an object"):
        mask_lists(*read_json(write_json(tmp_path / "mask_dict.json", {"7": {}})))


def test_long_rvos(tmp_path):
    for split in ("train", "valid"):
        write_json(tmp_path / split / "meta_expressions.json", described({"obj_id": "1"}))
        write_frames(tmp_path / split / "JPEGImages/dog")
    (tmp_path / "valid/Annotations").mkdir()
    assert open_dataset(tmp_path, "train").truth is None
    valid = open_dataset(tmp_path, "valid")
    assert valid.truth.path == tmp_path / "valid/Annotations"
    assert valid.check() == []


# --- DAVIS ------------------------------------------------------------------------------------------------------------


def write_davis(root: Path, videos: dict[str, list[str]]) -> None:
    for folder in ("ImageSets/2016", "ImageSets/2017", "Annotations/480p"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("".join(f"{video}\n" for video in videos))
    paths = "".join(f"/JPEGImages/480p/{video}/{one}.jpg /x/{one}.png\n" for video in videos for one in FRAMES)
    (root / "ImageSets/2016/trainval.txt").write_text(paths)
    for video in videos:
        write_frames(root / "JPEGImages/480p" / video)


def test_davis(tmp_path):
    write_davis(tmp_path, {"dog": [], "goat": []})
    dataset = open_dataset(tmp_path, "val")
    assert list(dataset.videos) == list(open_dataset(tmp_path, "trainval").videos) == ["dog", "goat"]
    assert dataset.videos["goat"].frame_names == tuple(FRAMES)
    assert dataset.truth.path == tmp_path / "Annotations/480p"
    assert dataset.check() == [], "no sentences are no fault here"
    (tmp_path / "ImageSets/2016/val.txt").write_text("dog\n")
    with pytest.raises(DatasetError, match="no split 'val', only trainval, 2016/val, 2017/val"):
        open_dataset(tmp_path, "val")
    assert list(open_dataset(tmp_path, "2016/val").videos) == ["dog"]
    (tmp_path / "ImageSets/2016/val.txt").write_text("dog\nlost\n")
    [fault] = open_dataset(tmp_path, "2016/val").check()
    assert fault.kind is FaultKind.ENTRY
    assert "lost: expected a folder of frames" in fault.message


@pytest.mark.parametrize(
    ("frames", "masks", "mask"),
    [("JPEGImages", "Annotations", "{frame}.png"), ("JPEGImages_24fps", "Annotations_6fps", "000/{frame}.png")],
)
def test_mose_and_sa_v_need_no_list(tmp_path, frames, masks, mask):
    for split in ("train", "sav_val"):
        for video in ("a10", "a2"):
            write_frames(tmp_path / split / frames / video)
            path = tmp_path / split / masks / video / mask.format(frame=FRAMES[0])
            path.parent.mkdir(parents=True)
            Image.new("L", (8, 6), 1).save(path)
    with pytest.raises(DatasetError, match="several splits; choose one with --split: sav_val, train"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, "sav_val")
    assert list(dataset.videos) == ["a2", "a10"]
    assert dataset.videos["a2"].frame_names == tuple(FRAMES)
    assert dataset.truth.path == tmp_path / "sav_val" / masks
    assert dataset.check() == []
    (tmp_path / "sav_val" / frames / "a3").mkdir()
    [fault] = open_dataset(tmp_path, "sav_val").check()
    assert "a3" in fault.message


@pytest.mark.parametrize(
    ("frames", "masks", "mask", "ids"),
    [
        ("JPEGImages", "Annotations", "{frame}.png", ["1", "2"]),
        ("JPEGImages_24fps", "Annotations_6fps", "{object}/{frame}.png", ["000", "001"]),
    ],
)
def test_masks_of_some_frames_become_a_run_of_all(tmp_path, frames, masks, mask, ids):
    """MOSE's valid shows first frames only, SA-V every fourth; an object may come later."""
    root = tmp_path / "valid"
    write_frames(root / frames / "dog")
    shown = {FRAMES[0]: ids[:1], FRAMES[1]: ids}
    for frame, there in shown.items():
        labels = np.zeros((6, 8), np.uint8)
        for label, name in enumerate(there, start=1):
            labels[:, label] = label
            path = root / masks / "dog" / mask.format(frame=frame, object=name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((labels == label).astype(np.uint8) if "object" in mask else labels).save(path)
    dataset = open_dataset(tmp_path, "valid")
    [video] = import_annotations(root / masks, dataset=dataset)
    assert video.frame_names == tuple(FRAMES)
    assert [(track.expression.id, track.key_frame) for track in video.tracks] == [(ids[0], 0), (ids[1], 1)]
    for label, track in enumerate(video.tracks, start=1):
        found = [track.mask(t) for t in range(len(FRAMES))]
        assert [mask.any() for mask in found] == [ids[label - 1] in shown.get(frame, ()) for frame in FRAMES]
        assert all(np.array_equal(np.argwhere(mask)[:, 1], [label] * 6) for mask in found if mask.any())
    (root / frames / "dog" / f"{FRAMES[1]}.jpg").unlink()
    with pytest.raises(DatasetError, match=f"video 'dog': the data set has no frame '{FRAMES[1]}' in this video"):
        list(import_annotations(root / masks, dataset=open_dataset(tmp_path, "valid")))


@pytest.mark.parametrize("inside", ["DAVIS", "."])
def test_ref_davis17_as_downloaded(tmp_path, inside):
    write_davis(tmp_path / inside, {"classic-car": [], "dogs-scale": []})
    lines = {"": "ff", "_full_video": "full"}
    for number, file in enumerate(FILES):
        said = f"p{1 + number // 2} {lines['_full_video' if 'full' in file else '']}"
        # Objects in another order than their names, a misspelt video, and what is no UTF-8.
        text = f'clasic-car 2 "{said} two"\nclasic-car 10 "{said} ten"\n\ndog-scale 1 "caf\xe9 {said}"\n'
        path = tmp_path / "davis_text_annotations" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode("latin-1" if number > 1 else "utf-8"))
    dataset = open_dataset(tmp_path, "val")
    assert [(one.id, one.text, one.group) for one in dataset.videos["classic-car"].expressions] == [
        ("0", "p1 ff ten", "10"),
        ("1", "p1 full ten", "10"),
        ("2", "p2 ff ten", "10"),
        ("3", "p2 full ten", "10"),
        ("4", "p1 ff two", "2"),
        ("5", "p1 full two", "2"),
        ("6", "p2 ff two", "2"),
        ("7", "p2 full two", "2"),
    ]
    assert [one.text for one in dataset.videos["dogs-scale"].expressions][::2] == ["café p1 ff", "café p2 ff"]
    assert dataset.truth.path == tmp_path / inside / "Annotations/480p"
    assert dataset.check() == []
    path.write_text('clasic-car 2 "one"\ndog-scale 1 "it"\n')
    [fault] = open_dataset(tmp_path, "val").check()
    assert "expected as many texts of each object in Davis17_annot2_full_video.txt" in fault.message
    path.write_text("clasic-car two\n")
    with pytest.raises(DatasetError, match=r"full_video\.txt: line 1: expected <video> <object> "):
        open_dataset(tmp_path, "val")


def test_the_real_ref_davis17_has_four_neighbours_of_one_object(data):
    """The order that the reader of the text files reproduces."""
    videos = open_dataset(data / "rvos_meta/ref_davis17").videos
    for name in videos:
        groups = [one.group for one in videos[name].expressions]
        assert groups == [one for one in sorted(set(groups)) for _ in FILES], name


# --- YouTube-VIS ------------------------------------------------------------------------------------------------------


def youtube_vis(**more) -> dict:
    files = [f"dog/{name}.jpg" for name in FRAMES]
    video = {"id": 3, "width": 8, "height": 6, "length": 3, "file_names": files}
    return {"videos": [video], "categories": [{"id": 26, "name": "dog"}]} | more


TRACK = {"id": 5, "video_id": 3, "category_id": 26, "segmentations": [None, BOX, None]}


@pytest.mark.parametrize("file", ["train/instances.json", "train.json", "annotations/instances_train.json"])
def test_youtube_vis(tmp_path, file):
    path = write_json(tmp_path / file, youtube_vis(annotations=[TRACK]))
    write_frames(tmp_path / "train/JPEGImages/dog")
    dataset = open_dataset(tmp_path, "train")
    assert told(dataset) == [("5", "dog", "5")]
    assert dataset.check() == []
    assert dataset.truth.path == path
    assert dataset.truth.targets == {"dog": {"5": ("5",)}}
    assert mask_lists(*read_json(path))["5"].counts()[0] == (6, 8)
    assert told(open_dataset(path)) == told(dataset), "the file by itself"


def test_youtube_vis_without_tracks(tmp_path):
    write_json(tmp_path / "valid.json", youtube_vis(annotations=None))
    write_frames(tmp_path / "valid/JPEGImages/dog")
    dataset = open_dataset(tmp_path)
    assert dataset.check() == []
    assert dataset.truth is None


def test_files_of_uninext(tmp_path):
    write_frames(tmp_path / "valid/JPEGImages/dog")
    [video] = youtube_vis()["videos"]
    entries = [video | {"id": k, "expressions": [f"thing {k}"], "exp_id": str(k), "video": "dog"} for k in (1, 4)]
    write_json(tmp_path / "valid.json", youtube_vis(videos=entries))
    write_json(tmp_path / "valid_0.json", youtube_vis(videos=[video | {"expressions": [["a dog", "it runs"]]}]))
    dataset = open_dataset(tmp_path, "valid")
    assert told(dataset) == [("1", "thing 1", None), ("4", "thing 4", None)]
    assert dataset.check() == []
    assert told(open_dataset(tmp_path / "valid_0.json")) == [("0", "a dog", None), ("1", "it runs", None)]
    entries[1]["file_names"] = entries[1]["file_names"][:2]
    write_json(tmp_path / "valid.json", youtube_vis(videos=entries))
    [fault] = open_dataset(tmp_path, "valid").check()
    assert "videos.1: lists other frames than the entries before it" in fault.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": [TRACK | {"video_id": 4}]}, "annotations.0: expected a video .*, found video_id 4"),
        ({"annotations": [TRACK | {"category_id": 1}]}, "found category_id 1"),
        ({"annotations": [TRACK | {"id": "5"}]}, r"annotations.0.id: expected a whole number, found text"),
        ({"videos": [{"id": 3, "file_names": ["a/0.jpg", "b/0.jpg"]}]}, "expected <video>/<frame>.jpg of one video"),
    ],
)
def test_faulty_files_of_youtube_vis(tmp_path, change, words):
    path = write_json(tmp_path / "train.json", youtube_vis(**change))
    with pytest.raises(DatasetError, match=words):
        open_dataset(path)


def test_a_video_of_youtube_vis_does_not_lead_out(tmp_path):
    path = write_json(tmp_path / "train.json", youtube_vis(videos=[{"id": 3, "file_names": ["../0.jpg"]}]))
    (fault,) = open_dataset(path).check()
    assert "video id '..': begins with a dot" in str(fault)


def test_folders_of_mose_that_are_one_file_name_on_some_systems_are_named(tmp_path):
    for video in ("dog", "Dog", "CON"):
        write_frames(tmp_path / "train/JPEGImages" / video)
        (tmp_path / "train/Annotations" / video).mkdir(parents=True)
    twins, device = sorted(str(fault) for fault in open_dataset(tmp_path).check())[::-1]
    assert "are one file name on some systems" in twins
    assert "video id 'CON': is the name of a device on Windows" in device


# --- all --------------------------------------------------------------------------------------------------------------


def test_a_folder_without_any_data_set_names_what_is_looked_for(tmp_path):
    with pytest.raises(DatasetError, match="expected the files of a data set, found none of") as error:
        open_dataset(tmp_path)
    for one in FORMATS:
        assert one.files in str(error.value)


def test_a_file_has_no_splits(tmp_path):
    file = write_json(tmp_path / "some.json", described({}))
    with pytest.raises(DatasetError, match="omit --split"):
        open_dataset(file, "valid")
    with pytest.raises(DatasetError, match="videos: expected an object, found no such key"):
        open_dataset(write_json(tmp_path / "other.json", {}))
