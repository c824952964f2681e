"""Data sets on disk, what is missing or wrong in them, and the order of samples."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from mask_interchange import DatasetError
from PIL import Image
from pycocotools import mask as coco
from rvos_layers.encoders.tokenizer import Tokenizer, encode_bytes
from rvos_layers.inference.config import ResizeRule
from rvos_training.data import data_check
from rvos_training.data.batches import BatchIndices, collate
from rvos_training.data.data_check import check_expressions, check_images, check_training_videos
from rvos_training.data.data_parts import open_parts
from rvos_training.data.image_clips import AlteredCopies, ImageClips
from rvos_training.data.object_presence import read_labels
from rvos_training.data.read_once import ReadOnce
from rvos_training.data.referring_clips import ReferringClips
from rvos_training.data.training_data import TrainingData
from rvos_training.data.transforms import FlipAndResize
from rvos_training.errors import TrainingError
from synthetic_data import HEIGHT, WIDTH, write_split

TOKENIZER = Tokenizer(encode_bytes, vocab_size=320, max_tokens=200)
TRANSFORM = FlipAndResize(resize=ResizeRule(short=32, longest=None))


@pytest.fixture
def root(tmp_path):
    write_split(tmp_path / "data", "train", {"a": 9, "b": 4, "c": 12}, hidden={"c": set(range(8))})
    return tmp_path / "data"


@pytest.fixture
def clips(root, tmp_path):
    return referring(root, tmp_path)


def referring(root, tmp_path):
    videos = open_parts(root, ()).videos
    presence = check_training_videos(videos, ReadOnce(tmp_path / "presence.json"))
    return ReferringClips(videos.dataset, videos.annotations, presence, length=8)


def data(sources, seed=3, multiple=1):
    return TrainingData(sources, TRANSFORM, TOKENIZER, seed, multiple)


# ---- videos


def test_only_windows_that_show_the_object_are_samples(clips):
    found = [(clip.video, clip.expression.id, clip.frames[0]) for clip in clips.clips]
    assert found == [("a", "0", 0), ("a", "0", 1), ("a", "1", 0), ("a", "1", 1), ("b", "0", 0), ("b", "1", 0),
                     ("c", "0", 0), ("c", "0", 4), ("c", "1", 4)]  # fmt: skip


def test_a_clip_has_the_masks_of_its_own_object(clips):
    clip = clips.clip(8, np.random.default_rng(0))  # object 2 of video c, frames 4 to 11, visible from 8 on
    assert clip.visible.tolist() == [False] * 4 + [True] * 4
    assert clip.text == "the blue square"
    blue = clip.frames[clip.masks]
    assert (blue[:, 2] > 150).mean() > 0.9
    assert (blue[:, 0] < 110).mean() > 0.9
    assert clip.masks[-1].sum() == 16 * 16


def test_expressions_are_lower_case_with_single_spaces(clips):
    assert clips.clip(0, np.random.default_rng(0)).text == "the red square on the left"


def test_a_short_video_repeats_its_last_frame(clips):
    clip = clips.clip(4, np.random.default_rng(0))
    assert (clip.frames[3:] == clip.frames[3]).all()


def test_files_are_read_once_and_again_when_they_change(root, tmp_path, monkeypatch):
    read = []

    def counted(annotations, video, frame):
        read.append(video.id)
        return read_labels(annotations, video, frame)

    monkeypatch.setattr(data_check, "read_labels", counted)
    first = referring(root, tmp_path).clips
    assert set(read) == {"a", "b", "c"}
    read.clear()
    assert referring(root, tmp_path).clips == first
    assert not read
    Image.new("L", (WIDTH, HEIGHT)).save(root / "train" / "Annotations" / "b" / "00010.png")
    referring(root, tmp_path)
    assert set(read) == {"b"}


@pytest.mark.parametrize("file", ["JPEGImages/a/00010.jpg", "Annotations/a/00010.png"])
def test_the_identity_is_that_of_all_contents(root, tmp_path, file):
    """A file may be copied; its bytes may not change, even if nothing else does."""

    def identity(folder):
        read = ReadOnce(tmp_path / f"{folder.name}.json")
        check_training_videos(open_parts(folder, ()).videos, read)
        return read.identity

    before = identity(root)
    shutil.copytree(root, tmp_path / "copy")
    assert identity(tmp_path / "copy") == before
    path = tmp_path / "copy" / "train" / file
    path.write_bytes(path.read_bytes() + b"\0")
    assert identity(tmp_path / "copy") != before
    assert identity(root) == before


def test_a_cache_of_something_else_is_replaced(root, tmp_path):
    (tmp_path / "presence.json").write_text('{"fingerprint": "other", "videos": {}}')
    assert len(referring(root, tmp_path)) == 9


def test_all_faults_are_listed_at_once_with_video_and_expressions(root, tmp_path):
    (root / "train" / "Annotations" / "b" / "00010.png").unlink()
    (root / "train" / "JPEGImages" / "a" / "00005.jpg").unlink()
    frame = root / "train" / "JPEGImages" / "c" / "00020.jpg"
    frame.write_bytes(frame.read_bytes()[: frame.stat().st_size // 2])  # its header is sound
    with pytest.raises(TrainingError, match="training videos: 3 faults") as error:
        referring(root, tmp_path)
    for video, words in (("a", "frame '00005' is missing"), ("b", "b/00010.png"), ("c", "c/00020.jpg")):
        assert re.search(rf"video '{video}', expressions 0, 1: .*{re.escape(words)}", str(error.value))


def test_a_sentence_over_the_limit_is_named(root):
    parts = open_parts(root, ())
    check_expressions(parts.videos, [], TOKENIZER)
    with pytest.raises(TrainingError, match=r"expressions: 3 faults.*\n  video 'a', expression '0': .*at most 20"):
        check_expressions(parts.videos, [], Tokenizer(encode_bytes, vocab_size=320, max_tokens=20))


def test_an_annotation_of_another_size_is_named(root, tmp_path):
    Image.new("L", (5, 5)).save(root / "train" / "Annotations" / "b" / "00010.png")
    with pytest.raises(TrainingError, match=r"b/00010\.png: expected 64x48 .* found 5x5"):
        referring(root, tmp_path)


def test_an_expression_without_an_object_is_named(root, tmp_path):
    file = root / "meta_expressions" / "train" / "meta_expressions.json"
    meta = json.loads(file.read_text())
    del meta["videos"]["b"]["expressions"]["1"]["obj_id"]
    file.write_text(json.dumps(meta))
    with pytest.raises(TrainingError, match="video 'b', expression '1': expected an obj_id"):
        referring(root, tmp_path)


def test_all_missing_parts_are_listed(tmp_path):
    with pytest.raises(TrainingError) as error:
        open_parts(tmp_path, ("refcoco", "refcocog"))
    for part in (
        "coco/instances_refcoco_train.json",
        "coco/instances_refcocog_train.json",
        "coco/train2014",
        "ref-youtube-vos/meta_expressions/train/meta_expressions.json",
        "ref-youtube-vos/train/JPEGImages",
        "ref-youtube-vos/train/Annotations",
    ):
        assert part in str(error.value)


def test_images_alone_need_no_videos(tmp_path):
    with pytest.raises(TrainingError) as error:
        open_parts(tmp_path, ("refcoco",), videos_too=False)
    assert "ref-youtube-vos" not in str(error.value)
    (tmp_path / "coco" / "train2014").mkdir(parents=True)
    (tmp_path / "coco" / "instances_refcoco_train.json").touch()
    parts = open_parts(tmp_path, ("refcoco",), videos_too=False)
    assert not parts.videos.dataset.videos
    assert check_training_videos(parts.videos, ReadOnce(tmp_path / "presence.json")) == {}


def test_image_sets_may_have_folders_of_their_own(tmp_path):
    """As the published converter writes them."""
    (tmp_path / "coco" / "train2014").mkdir(parents=True)
    own = tmp_path / "coco" / "refcoco+" / "instances_refcoco+_train.json"
    own.parent.mkdir()
    own.touch()
    assert open_parts(tmp_path, ("refcoco+",), videos_too=False).image_files == (own,)
    (beside := tmp_path / "coco" / own.name).touch()
    assert open_parts(tmp_path, ("refcoco+",), videos_too=False).image_files == (beside,)


def test_validation_needs_annotations(root):
    assert open_parts(root, ()).validation is None
    write_split(root, "valid", {"v": 3})
    validation = open_parts(root, ()).validation
    assert validation is not None
    assert list(validation.dataset.videos) == ["v"]


# ---- images


def entry(number: int, segmentation: object, **changes: object) -> tuple[dict, dict]:
    image = {"id": number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH, "caption": "The Dog  left"}
    return image | changes, {"id": number, "image_id": number, "segmentation": segmentation}


SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[16:32, 20:40] = True
POLYGON = [[20, 16, 40, 16, 40, 32, 20, 32]]


@pytest.fixture
def image_set(tmp_path):
    def make(*entries: tuple[dict, dict]) -> ImageClips:
        folder = tmp_path / "coco" / "train2014"
        folder.mkdir(parents=True, exist_ok=True)
        picture = np.full((HEIGHT, WIDTH, 3), (60, 90, 60), np.uint8)
        picture[SQUARE] = (200, 60, 60)
        for image, _ in entries:
            Image.fromarray(picture).save(folder / image["file_name"], quality=98)
        file = tmp_path / "coco" / "instances_refcoco_train.json"
        images, annotations = zip(*entries, strict=True)
        file.write_text(json.dumps({"images": images, "annotations": [a for a in annotations if a]}))
        return ImageClips(file, folder, length=8)

    return make


def run_lengths() -> list[int]:
    column_major = SQUARE.T.ravel()
    edges = np.flatnonzero(np.diff(column_major)) + 1
    return np.diff([0, *edges, SQUARE.size]).tolist()


def compressed() -> dict:
    counts = coco.encode(np.asfortranarray(SQUARE.astype(np.uint8)))["counts"]
    return {"counts": counts.decode(), "size": [HEIGHT, WIDTH]}


@pytest.mark.parametrize("segmentation", [POLYGON, {"counts": run_lengths(), "size": [HEIGHT, WIDTH]}, compressed()])
def test_an_image_becomes_a_clip_that_holds_it_once(image_set, segmentation):
    clip = image_set(entry(7, segmentation)).clip(0, np.random.default_rng(0))
    assert clip.text == "The Dog  left"  # not cleaned, as published
    unchanged = [(mask == SQUARE).all() for mask in clip.masks]
    assert sum(unchanged) == 1
    assert clip.frames.shape == (8, HEIGHT, WIDTH, 3)


def test_faithful_boxes_of_copies_without_the_object_are_not_zero(image_set):
    clips = image_set(entry(7, [[0, 0, 4, 0, 4, 4, 0, 4]]))
    clips.copies = AlteredCopies(shift=0.5, perspective=0.3)
    faithful = ImageClips(clips.file, clips.entries[0].image.parent, 8, clips.copies, faithful=True)
    for seed in range(5):
        one, other = (some.clip(0, np.random.default_rng(seed)) for some in (clips, faithful))
        assert (one.boxes[~one.visible] == 0).all()
        assert (other.boxes == np.maximum(one.boxes, np.float32(1e-6))).all()
    assert not one.visible.all()


def test_masks_move_with_the_pixels(image_set):
    clips = image_set(entry(7, POLYGON))
    clips.copies = AlteredCopies(blur_probability=0)  # blur smears the colours
    for seed in range(5):
        clip = clips.clip(0, np.random.default_rng(seed))
        red = clip.frames[..., 0].astype(int) > clip.frames[..., 1].astype(int) + 60
        agreement = (red & clip.masks).sum((1, 2)) / np.maximum(1, (red | clip.masks).sum((1, 2)))
        assert (agreement > 0.85).all(), agreement


def test_augmentation_stays_within_its_ranges():
    image, mask = np.full((HEIGHT, WIDTH, 3), 128, np.uint8), np.ones((HEIGHT, WIDTH), bool)
    still = AlteredCopies(perspective=0, shift=0, rotation=0, blur_probability=0)
    values = [int(still(image, mask, np.random.default_rng(seed))[0][5, 5, 0]) - 128 for seed in range(60)]
    assert min(values) < -25
    assert max(values) > 25
    assert max(np.abs(values)) <= 40
    shifted = AlteredCopies(brightness=0, perspective=0, rotation=0, blur_probability=0, shift=0.1)
    seen = [shifted(image, SQUARE, np.random.default_rng(seed))[1] for seed in range(30)]
    places = np.array([np.argwhere(one).mean(0) for one in seen]) - np.argwhere(SQUARE).mean(0)
    assert (np.abs(places) <= (0.1 * HEIGHT + 1, 0.1 * WIDTH + 1)).all()
    assert (np.abs(places).max(0) > (0.05 * HEIGHT, 0.05 * WIDTH)).all()


def test_expressions_without_exactly_one_object_are_left_out_and_counted(image_set):
    """As in the released gRefCOCO: no object, one that stands for none, several, and one without a mask."""
    none, stands_for_none, several, another, bare = (entry(number, POLYGON) for number in range(2, 7))
    stands_for_none[1].update(category_id=-1, empty=True, segmentation=None)
    another[1]["image_id"] = several[0]["id"]
    another[0]["id"] = 99  # has no annotation, as the first
    del bare[1]["segmentation"]
    clips = image_set(entry(1, POLYGON), (none[0], {}), stands_for_none, several, another, bare)
    assert [entry.image.name for entry in clips.entries] == ["1.jpg"]
    assert clips.skipped == {"no object": 3, "several objects": 1, "no mask": 1}
    with pytest.raises(DatasetError, match="expected at least one expression with one object and a mask"):
        image_set(several, another)


@pytest.mark.parametrize("segmentation", [[[1, 2, 3]], "dog", {"counts": [4, -2]}, {"counts": [7]}])
def test_a_broken_segmentation_is_named(image_set, segmentation, tmp_path):
    clips = image_set(entry(1, segmentation))
    with pytest.raises(DatasetError, match=r"annotations\.0\.segmentation"):
        clips.clip(0, np.random.default_rng(0))
    with pytest.raises(TrainingError, match=r"1 fault;.*\n  .*annotations\.0\.segmentation.*1\.jpg, 'The Dog  left'"):
        check_images(clips, ReadOnce(tmp_path / "check.json"))


def test_images_are_looked_at_before_training(image_set, tmp_path):
    clips = image_set(entry(1, POLYGON), entry(2, POLYGON, height=10**7), entry(3, POLYGON))
    check = ReadOnce(tmp_path / "check.json")
    with pytest.raises(TrainingError, match=r"1 fault;.*\n  .*2\.jpg: expected 64x10000000 pixels"):
        check_images(clips, check)
    (tmp_path / "coco" / "train2014" / "3.jpg").unlink()
    with pytest.raises(TrainingError, match=r"1 fault;.*\n  .*3\.jpg"):
        check_images(clips, check)


def test_an_image_of_another_size_is_named(image_set):
    clips = image_set(entry(1, POLYGON, height=10**7))
    with pytest.raises(DatasetError, match=r"1\.jpg: expected 64x10000000 pixels"):
        clips.clip(0, np.random.default_rng(0))


def test_images_cannot_be_read_from_elsewhere(image_set, tmp_path):
    clips = image_set(entry(1, POLYGON))
    assert clips.entries[0].image.parent == tmp_path / "coco" / "train2014"
    outside = image_set(entry(1, POLYGON, file_name="1.jpg"))
    content = json.loads(outside.file.read_text())
    content["images"][0]["file_name"] = "../../../etc/passwd"
    outside.file.write_text(json.dumps(content))
    assert ImageClips(outside.file, tmp_path / "coco" / "train2014", 8).entries[0].image.parent.name == "train2014"


# ---- order and batches


def same(a, b) -> bool:
    return torch.equal(a.frames, b.frames) and torch.equal(a.boxes, b.boxes) and a.text == b.text


def test_a_sample_depends_on_seed_epoch_and_index_alone(clips, image_set):
    images = image_set(entry(7, POLYGON))
    one, other = data([clips, images]), data([clips, images])
    other.sample(0, 3)
    image = len(clips)
    assert same(one.sample(2, image), other.sample(2, image))
    assert not same(one.sample(2, image), one.sample(3, image))
    assert not same(one.sample(2, image), data([clips, images], seed=4).sample(2, image))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_an_epoch_is_shared_among_processes(clips, processes):
    shares = [data([clips]).batches(1, 2, process, processes) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    seen = [index for share in shares for batch in share for index in batch.indices]
    assert set(seen) == set(range(len(clips)))
    assert len(seen) == -(-len(clips) // processes) * processes


def test_epochs_have_orders_of_their_own(clips):
    assert data([clips]).batches(0, 1) == data([clips]).batches(0, 1)
    assert data([clips]).batches(0, 1) != [BatchIndices(0, batch.indices) for batch in data([clips]).batches(1, 1)]


def test_a_batch_is_padded_to_its_largest_clip(clips, image_set):
    small = data([clips]).sample(0, 0)
    wide = TrainingData([image_set(entry(7, POLYGON))], FlipAndResize(resize=ResizeRule(short=40)), TOKENIZER, 0)
    batch = collate([small, wide.sample(0, 0)], TOKENIZER, multiple=32)
    assert batch.frames.shape == (2, 8, 3, 64, 64)
    assert batch.padding_mask is not None
    assert (~batch.padding_mask[0, 0]).sum() == small.masks[0].numel()
    assert not batch.frames[0, :, :, 32:].any()
    assert not batch.targets.masks[0, :, 32:].any()
    alone = collate([small], TOKENIZER)
    assert alone.padding_mask is None


def test_labels_are_padded_like_masks_and_known_for_all_clips_or_none(clips):
    plain = data([clips]).sample(0, 0)
    labelled = replace(plain, labels=plain.masks.byte() * 2)
    targets = collate([labelled, labelled], TOKENIZER, multiple=50).targets
    assert torch.equal(targets.labels, targets.masks.byte() * 2)
    assert targets.to("cpu").labels is not None
    assert collate([labelled, plain], TOKENIZER).targets.labels is None


def test_an_unreadable_file_gives_an_error_in_place_of_the_batch(root, clips):
    (root / "train" / "JPEGImages" / "b" / "00005.jpg").write_bytes(b"no image")
    found = data([clips])[BatchIndices(0, (4,))]
    assert isinstance(found, DatasetError)
    assert "00005.jpg" in str(found)


def test_there_must_be_something_to_train_on():
    with pytest.raises(TrainingError, match="nothing to train on"):
        data([])
