"""The report: what is in the page is what the runs say."""

import base64
import json
import re
import zlib
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.recipe.graph import Recipe
from fusion_core.recipe.nodes import ExistingRun, Pairing, Vote
from fusion_core.recipe.published import RECIPES
from fusion_core.report.content import Gatherer, as_block
from fusion_core.report.graph import BOX_HEIGHT, lay_out
from fusion_core.report.page import ReportError, write_report
from fusion_core.report.thumbnails import small_masks, small_size
from fusion_core.voting.fused_run import FusedRun
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import Expression, MaskRun, MaskTrack, decode_mask, open_dataset
from mask_interchange.rle import check_runs
from PIL import Image
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import evaluate_run
from typer.testing import CliRunner

ROOM = 5_000_000


@st.composite
def tracks(draw):
    """Masks bool [T, H, W], often empty or full."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
    return draw(arrays(bool, shape, elements=st.booleans(), fill=st.booleans()))


def run_lengths(masks):
    return MaskTrack.from_masks(Expression(id="0"), masks).runs


@given(masks=tracks(), height=st.integers(1, 12), width=st.integers(1, 12))
def test_small_masks_are_the_middle_pixels(masks, height, width):
    size = masks.shape[1:]
    small = min(height, size[0]), min(width, size[1])
    rows, columns = ([(2 * k + 1) * side // (2 * n) for k in range(n)] for side, n in zip(size, small, strict=True))
    found = check_runs(small_masks(run_lengths(masks), size, small), small)
    track = MaskTrack.from_runs(Expression(id="0"), found, small)
    np.testing.assert_array_equal(track.stack(), masks[:, rows][:, :, columns])


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 500))
def test_small_sizes_fit_and_keep_the_shape(size, longest):
    small = small_size(size, longest)
    assert max(small) <= max(longest, 1)
    assert all(0 < s <= max(side, 1) for s, side in zip(small, size, strict=True))
    scale = max(small) / max(size)
    assert all(abs(s - side * scale) <= 1 for s, side in zip(small, size, strict=True))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_graph_has_every_run_once_and_arrows_point_right(recipe):
    layout = lay_out(recipe.nodes)
    boxes = {box.node.name: box for box in layout.boxes}
    assert list(boxes) == [node.name for node in recipe.nodes]
    assert {(source, target) for source, target, _ in layout.arrows} == {
        (source, node.name) for node in recipe.nodes for source in node.inputs
    }
    for source, target, path in layout.arrows:
        assert boxes[source].right[0] < boxes[target].left[0]
        assert path.startswith("M{:.1f},{:.1f} ".format(*boxes[source].right))
    for one in boxes.values():
        assert one.x >= 0
        assert one.x + one.width <= layout.width
        assert 0 <= one.y <= layout.height - BOX_HEIGHT
        for other in boxes.values():
            apart = one.x + one.width < other.x or other.x + other.width < one.x or abs(one.y - other.y) > BOX_HEIGHT
            assert one is other or apart


class Page(HTMLParser):
    """The parts of a report that tests look at."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.elements, self.attributes, self._open = [], [], [], None
        self.feed(text)
        self.close()
        self.blocks = {
            attributes["id"]: json.loads(content)
            for attributes, content in self.scripts
            if attributes.get("type") == "application/json"
        }

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)

    def handle_endtag(self, tag):
        self.lasttag = ""

    def masks(self, number):
        """What the page holds of a video, unpacked."""
        return json.loads(zlib.decompress(base64.b64decode(self.blocks[f"video-{number}"]["masks"])))


def written(world, out, **options):
    dataset = open_dataset(world.dataset)
    options = {"limit": ROOM, "annotations": open_annotations(world.annotations)} | options
    recipe = options.pop("recipe", world.recipe)
    return write_report(recipe, world.runs, dataset, out, **options)


@pytest.fixture(scope="module")
def page(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert written(world, out).problems == ()
    return Page(out.read_text())


def painted(page, number, run, expression):
    """Masks bool [T, h, w] of a track in the page; T of them None for a run without it."""
    unpacked, size = page.masks(number), tuple(page.blocks[f"video-{number}"]["size"])
    track = unpacked["truth"][expression] if run is None else unpacked["runs"][run][expression]
    return [decode_mask(unpacked["strings"][k].encode(), size) for k in track["masks"]]


def test_the_page_holds_every_run_and_frame(page, world):
    dataset = open_dataset(world.dataset)
    assert [run["name"] for run in page.blocks["index"]["runs"]][-1] == "final"
    for number, (name, video) in enumerate(dataset.videos.items()):
        block, unpacked = page.blocks[f"video-{number}"], page.masks(number)
        assert block["names"] == list(video.frame_names)
        assert len(block["frames"]) == len(video)
        assert base64.b64decode(block["frames"][0])[8:12] == b"WEBP"
        assert sorted(unpacked["runs"]) == ["a", "a_aot", "b", "c", "final", "first", "first_aot"]
        for run, in_page in unpacked["runs"].items():
            for index, track in enumerate(MaskRun.open(world.runs / run).read(name).tracks):
                np.testing.assert_array_equal(painted(page, number, run, index), track.stack())  # 160 pixels: as is
                assert in_page[index]["key"] == track.key_frame


def test_votes_counted_in_the_page_give_the_voted_masks(page, world):
    votes = [node for node in world.recipe.nodes if isinstance(node, Vote)]
    seen = set()
    for number in range(2):
        counts = page.masks(number)["counts"]
        for vote in votes:
            for index, count in enumerate(counts[vote.name]):
                votes_cast = sum(np.stack(painted(page, number, run, at)) for run, at in count["voters"])
                seen.add((vote.name, len(count["voters"])))
                result = np.stack(painted(page, number, vote.name, index))
                np.testing.assert_array_equal(votes_cast >= count["needed"], result)
    assert seen == {("first", 6), ("first", 1), ("final", 6), ("final", 3)}  # pairs and both leftover rules


def test_votes_are_counted_as_they_were_cast(world):
    """Also if the recipe has changed since."""
    runs = {path.name: MaskRun.open(path) for path in world.runs.iterdir()}
    video = next(iter(open_dataset(world.dataset).videos.values()))
    changes = {"threshold": 1, "out_of": 2, "leftover": None, "pairing": Pairing.NONE}
    others = [replace(node, **changes) if isinstance(node, Vote) else node for node in world.recipe.nodes]
    cast, now = (Gatherer(nodes=nodes, runs=runs).gather(video).counts for nodes in (world.recipe.nodes, others))
    assert cast == now
    assert len(cast["first"]) == len(video.expressions)


def test_a_leftover_that_takes_support_is_not_counted(world, tmp_path):
    """Its masks follow from none of those that the page holds."""
    video = next(iter(open_dataset(world.dataset).videos.values()))
    runs = {}
    for name in ("a", "b", "c"):
        member = MaskRun.open(world.runs / name)
        masks = member.read(video.id)
        tracks = [
            MaskTrack.from_masks(track.expression, track.stack(), support=np.ones_like(track.stack()))
            for track in masks.tracks
        ]
        runs[name] = MaskRun.create(tmp_path / name, member.manifest)
        runs[name].write(replace(masks, tracks=tuple(tracks)))
    vote = replace(world.recipe.node("first"), leftover_takes_support=True)
    fused = FusedRun(vote, list(runs.values()), tmp_path / "first")
    fused.start()
    fused.fuse(video.id)
    counts = Gatherer(nodes=world.recipe.nodes, runs=runs | {"first": fused.run}).gather(video).counts["first"]
    assert counts[-1] is None
    assert None not in counts[:-1]


@pytest.mark.parametrize("longest", [7, 33, 64])
def test_votes_counted_on_reduced_masks_give_the_reduced_result(world, longest):
    runs = {path.name: MaskRun.open(path) for path in world.runs.iterdir()}
    video = next(iter(open_dataset(world.dataset).videos.values()))
    content = Gatherer(nodes=world.recipe.nodes, runs=runs).gather(video)
    page = SimpleNamespace(blocks={"video-0": json.loads(as_block(content, (), longest))})
    page.masks = partial(Page.masks, page)
    for vote, counts in page.masks(0)["counts"].items():
        for index, count in enumerate(counts):
            votes_cast = sum(np.stack(painted(page, 0, run, at)) for run, at in count["voters"])
            assert max(votes_cast.shape[1:]) == longest
            np.testing.assert_array_equal(votes_cast >= count["needed"], painted(page, 0, vote, index))


def test_disagreement_is_one_minus_the_mean_iou(page, world):
    entry = page.blocks["index"]["entries"][0]
    video = list(open_dataset(world.dataset).videos)[entry["video"]]
    ious = []
    for vote in (node for node in world.recipe.nodes if isinstance(node, Vote)):
        result = MaskRun.open(world.runs / vote.name).read(video).tracks[entry["index"]].stack()
        for member in vote.members:
            mask = MaskRun.open(world.runs / member).read(video).tracks[entry["index"]].stack()
            union = (mask | result).sum(axis=(1, 2))
            ious.append(np.where(union, (mask & result).sum(axis=(1, 2)) / np.maximum(union, 1), 1))
    assert entry["disagreement"] == pytest.approx(1 - np.mean(ious), abs=1e-4)
    frames = page.masks(entry["video"])["disagreement"][entry["index"]]
    np.testing.assert_allclose(frames, 1 - np.mean(ious, axis=0), atol=1e-3)


def test_scores_and_true_masks_are_there_when_annotations_are(page, world):
    annotations = open_annotations(world.annotations)
    dataset = open_dataset(world.dataset)
    evaluation = evaluate_run(MaskRun.open(world.runs / "final"), annotations, dataset=dataset)
    entries = page.blocks["index"]["entries"]
    found = [entry["scores"]["final"] for entry in entries]
    assert np.mean(found) == pytest.approx(evaluation.overall.jf, abs=1e-3)
    for entry in entries:
        video = list(dataset.videos)[entry["video"]]
        label = int(dataset.videos[video].expressions[entry["index"]].group)
        truth = [frame.labels == label for frame in annotations[video].frames()]
        np.testing.assert_array_equal(painted(page, entry["video"], None, entry["index"]), truth)


def test_without_annotations_there_are_no_scores(world, tmp_path):
    written(world, tmp_path / "report.html", annotations=None)
    page = Page((tmp_path / "report.html").read_text())
    assert page.blocks["index"]["entries"][0]["scores"] == {}
    assert not any(page.masks(0)["truth"])
    assert "table" not in page.elements


def test_expressions_cannot_break_the_page(page, world):
    assert page.blocks["index"]["entries"][0]["text"] == world.evil
    assert "img" not in page.elements
    assert len(page.scripts) == 1 + 1 + 2  # index, program, one block a video
    assert not [value for name, value in page.attributes if name.startswith("on")]


def test_nothing_is_loaded_from_anywhere(page, world, tmp_path):
    written(world, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    links = [value for name, value in page.attributes if name in {"src", "href", "action", "data", "srcset"}]
    assert sorted(links) == ["#viewer", "data:,"]
    assert not re.findall(r"@import|url\((?!#)", text)
    policy = re.search(r'Policy" content="([^"]+)', text).group(1)
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")


def test_equal_inputs_give_equal_pages(world, tmp_path):
    for name in ("one.html", "two.html"):
        written(world, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_pictures_shrink_until_the_page_fits(world, tmp_path):
    full = written(world, tmp_path / "full.html")
    limit = full.size - 1000
    smaller = written(world, tmp_path / "small.html", limit=limit)
    assert smaller.size == (tmp_path / "small.html").stat().st_size <= limit
    assert smaller.side < 160
    with pytest.raises(ReportError, match="--max-size"):
        written(world, tmp_path / "none.html", limit=20_000)
    assert not (tmp_path / "none.html").exists()


def test_chosen_videos_only(world, tmp_path):
    second = list(open_dataset(world.dataset).videos)[1]
    written(world, tmp_path / "report.html", videos=[second])
    page = Page((tmp_path / "report.html").read_text())
    assert {entry["name"] for entry in page.blocks["index"]["entries"]} == {second}
    with pytest.raises(ReportError, match="no video 'nowhere'"):
        written(world, tmp_path / "report.html", videos=["nowhere"])


def test_what_does_not_fit_is_named_and_the_rest_is_shown(fresh, tmp_path):
    first, second = open_dataset(fresh.dataset).videos
    (fresh.runs / "a" / "videos" / f"{first}.masks").write_bytes(b"damaged")
    frame = next((fresh.dataset / "JPEGImages" / second).iterdir())
    frame.write_bytes(b"damaged")
    arguments = ["--runs", str(fresh.runs), "--dataset", str(fresh.dataset), "--out", str(tmp_path / "report.html")]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "mine"\nresult = "first"\n'
        + "".join(f'[run.{name}]\npath = "{fresh.runs / name}"\n' for name in ("a", "b", "c"))
        + '[vote.first]\nmembers = ["a", "b", "c"]\nthreshold = 3\nout_of = 6\nleftover = "first"\n'
    )
    result = CliRunner().invoke(app, ["report", "--recipe", str(recipe), *arguments])
    assert result.exit_code == 1, result.output
    assert f"video {first}: left out" in result.output
    assert frame.name in result.output
    page = Page((tmp_path / "report.html").read_text())
    assert page.blocks["video-1"] is None
    assert sorted(page.masks(0)["runs"]) == ["b", "c", "first"]
    assert {entry["name"] for entry in page.blocks["index"]["entries"]} == {first}


def test_a_damaged_run_has_no_scores_and_the_others_have(fresh, tmp_path):
    first = next(iter(open_dataset(fresh.dataset).videos))
    (fresh.runs / "a" / "videos" / f"{first}.masks").write_bytes(b"damaged")
    outcome = written(fresh, tmp_path / "report.html")
    assert [problem.split(":")[0] for problem in outcome.problems] == ["run a has no scores", f"video {first}"]
    page = Page((tmp_path / "report.html").read_text())
    assert sorted(page.blocks["index"]["entries"][0]["scores"]) == ["a_aot", "b", "c", "final", "first", "first_aot"]


def test_a_run_of_another_size_is_named(fresh, tmp_path):
    video = next(iter(open_dataset(fresh.dataset).videos))
    for file in (fresh.dataset / "JPEGImages" / video).iterdir():
        Image.new("RGB", (40, 30)).save(file)
    outcome = written(fresh, tmp_path / "report.html", annotations=None)
    assert len(outcome.problems) == 7
    assert (
        f"video {video}: left out: run a: frames of 160x90 pixels, but the video has 40x30 pixels"
        in outcome.problems[0]
    )


def test_no_run_is_an_error_that_says_where_it_looked(world, tmp_path):
    result = CliRunner().invoke(app, ["report", "--runs", str(tmp_path), "--dataset", str(world.dataset)])
    assert result.exit_code == 2
    assert f"{tmp_path}: holds no run of the recipe (" in result.output
    assert "--runs" in result.output


def test_existing_runs_may_lie_anywhere(world, tmp_path):
    nodes = (ExistingRun(name="mine", path=world.runs / "a"),)
    recipe = Recipe(name="one", result="mine", nodes=nodes)
    outcome = written(world, tmp_path / "report.html", recipe=recipe)
    page = Page((tmp_path / "report.html").read_text())
    assert outcome.problems == ()
    assert page.blocks["index"]["runs"] == [{"name": "mine", "kind": "run"}]
    assert page.blocks["index"]["entries"][0]["disagreement"] is None


def test_a_run_without_some_expressions_leaves_them_out(world):
    dataset = open_dataset(world.dataset)
    video = next(iter(dataset.videos.values()))
    runs = {"a": MaskRun.open(world.runs / "a")}
    more = replace(video, expressions=video.expressions[::-1])
    content = Gatherer(nodes=world.recipe.nodes, runs=runs).gather(more)
    ids = [track.expression.id for track in content.tracks["a"] if track]
    assert ids == [expression.id for expression in more.expressions]
    assert content.counts == {}
    assert set(content.disagreement) == {None}


def test_a_video_of_ones_own_has_the_expressions_of_its_runs(world, tmp_path):
    name = next(iter(open_dataset(world.dataset).videos))
    out = tmp_path / "report.html"
    recipe = tmp_path / "one.toml"
    recipe.write_text(f'result = "mine"\n[run.mine]\npath = "{world.runs / "a"}"\n')
    frames = str(world.dataset / "JPEGImages" / name)
    result = CliRunner().invoke(app, ["report", "--video", frames, "--recipe", str(recipe), "--out", str(out)])
    assert result.exit_code == 0, result.output
    page = Page(out.read_text())
    tracks = MaskRun.open(world.runs / "a").read(name).tracks
    assert [entry["text"] for entry in page.blocks["index"]["entries"]] == [one.expression.text for one in tracks]
    np.testing.assert_array_equal(painted(page, 0, "mine", 1), tracks[1].stack())
