"""The masks of MeViS and ReVOS as a run."""

import json

import pytest
from mask_interchange import DatasetError, Expression, open_dataset
from mask_interchange.mask_dict import import_mask_dict

LEFT = {"size": [1, 3], "counts": [0, 1, 2]}
RIGHT = {"size": [1, 3], "counts": [2, 1]}


def mevis(root, masks, expressions):
    (root / "valid_u").mkdir(parents=True)
    tree = {"videos": {"v1": {"vid_id": 1, "frames": ["00005", "00000"], "expressions": expressions}}}
    (root / "valid_u/meta_expressions.json").write_text(json.dumps(tree))
    (path := root / "valid_u/mask_dict.json").write_text(json.dumps(masks))
    return path, open_dataset(root, "valid_u")


def test_masks_are_united_by_anno_id_and_follow_sorted_frames(tmp_path):
    expressions = {
        "0": {"exp": "both", "obj_id": [0, 1], "anno_id": [7, 8]},
        "1": {"exp": "the left one", "obj_id": [0], "anno_id": [7]},
        "2": {"exp": "nothing", "obj_id": [], "anno_id": []},
    }
    path, dataset = mevis(tmp_path, {"7": [LEFT, None], "8": [RIGHT, RIGHT]}, expressions)
    (video,) = import_mask_dict(path, dataset)
    assert (video.size, video.frame_names) == ((1, 3), ("00005", "00000"))
    assert [track.expression for track in video.tracks] == [
        Expression(id="0", text="both", group="0+1"),
        Expression(id="1", text="the left one", group="0"),
        Expression(id="2", text="nothing"),
    ]
    assert [track.stack().astype(int).tolist() for track in video.tracks] == [
        [[[0, 0, 1]], [[1, 0, 1]]],
        [[[0, 0, 0]], [[1, 0, 0]]],
        [[[0, 0, 0]], [[0, 0, 0]]],
    ]


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({"8": [LEFT, LEFT]}, "7: expected the masks of video 'v1', found no such key"),
        ({"7": [LEFT]}, "7: expected 2 masks, one a frame, found 1"),
        ({"7": [LEFT, {"size": [3, 1], "counts": [3]}]}, "expected the size"),
        ({"7": 3}, "expected a list"),
        ([], "expected an object"),
        ({"videos": [], "annotations": [{"id": 7, "segmentations": [LEFT, LEFT]}]}, "omit --dataset"),
    ],
)
def test_bad_files(tmp_path, masks, words):
    path, dataset = mevis(tmp_path, masks, {"0": {"exp": "a dog", "obj_id": [0], "anno_id": [7]}})
    with pytest.raises(DatasetError, match=words):
        list(import_mask_dict(path, dataset))


def test_a_data_set_must_name_masks(tmp_path):
    path, dataset = mevis(tmp_path, {"7": [LEFT, LEFT]}, {"0": {"exp": "a dog"}})
    with pytest.raises(DatasetError, match="name their masks by anno_id, found none"):
        list(import_mask_dict(path, dataset))
