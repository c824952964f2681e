"""Joins recipe, runs, scores and videos into one HTML file that needs nothing else."""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from mask_interchange import Dataset, DatasetError, MaskInterchangeError, MaskRun, RunError
from mask_interchange.files import write_whole
from program_kit.distributions import version_of
from program_kit.progress import ProgressCallback
from rvos_evaluation.annotations import VideoAnnotation
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.evaluation import Evaluation, Means, evaluate_run
from rvos_evaluation.threads import in_threads

from fusion_core.errors import FusionCoreError
from fusion_core.recipe.graph import Recipe
from fusion_core.recipe.nodes import ExistingRun, Node
from fusion_core.report.content import Gatherer, VideoContent, as_block
from fusion_core.report.graph import Layout, lay_out

SIDES = (400, 320, 256, 192, 128, 96, 64)  # longer sides of pictures to choose from, in pixels
SAMPLED = 4  # videos that are packed to see which side fits


class ReportError(FusionCoreError):
    """A report that cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        size: of the file, in bytes.
        side: longer side of its pictures, in pixels.
        expressions: that it shows.
        problems: what is missing, in words.
    """

    size: int
    side: int
    expressions: int
    problems: tuple[str, ...]


def write_report(
    recipe: Recipe,
    runs: Path,
    dataset: Dataset,
    out: Path,
    *,
    annotations: Mapping[str, VideoAnnotation] | None = None,
    videos: Sequence[str] | None = None,
    limit: int,
    progress: ProgressCallback = lambda done, total: None,
) -> Written:
    """Write a report on the runs of a recipe.

    Args:
        recipe: whose runs are shown.
        runs: the folder that holds them; runs that do not exist yet are shown as missing.
        dataset: has the frames and expressions.
        out: the HTML file.
        annotations: ground truth for scores, from `open_annotations`.
        videos: only these; by default all that any of the runs has.
        limit: size of the file in bytes; pictures get smaller until it fits.
        progress: called with videos done and in all; starts from 0 for every run that is scored, and for the page.

    Raises:
        ReportError: there is no run or no video to show, or the page is larger than `limit`.
    """
    found = _open_runs(recipe.nodes, runs)
    shown = _chosen(found, dataset, videos)
    wanted = {video: annotations[video] for video in shown if video in annotations} if annotations else {}
    evaluations, unscored = _evaluate(found, wanted, dataset, progress)
    gatherer = Gatherer(nodes=recipe.nodes, runs=found, annotations=wanted, evaluations=evaluations)
    frame = _Frame(recipe=recipe, runs=found, dataset=dataset, evaluations=evaluations, problems=unscored)
    overhead = len(frame.page(_Packed(entries=(), blocks=(), problems=())))
    for side in SIDES:
        if side != SIDES[-1]:
            step = max(1, len(shown) // SAMPLED)
            sample = _pack(gatherer, dataset, shown[::step], side, frame)
            if overhead + sample.size * len(shown) / len(shown[::step]) > limit:
                continue
        packed = _pack(gatherer, dataset, shown, side, frame, progress)
        page = frame.page(packed)
        if len(page) <= limit:
            write_whole(out, page)
            return Written(
                size=len(page), side=side, expressions=len(packed.entries), problems=(*unscored, *packed.problems)
            )
    raise ReportError(
        f"{out}: {len(shown)} videos do not fit into {limit / 1e6:.0f} MB even with pictures of {SIDES[-1]} pixels; "
        "choose some with --videos, or give more room with --max-size"
    )


def _open_runs(nodes: Sequence[Node], folder: Path) -> dict[str, MaskRun]:
    found = {}
    for node in nodes:
        path = node.path if isinstance(node, ExistingRun) else folder / node.name
        if (path / "run.json").is_file():
            found[node.name] = MaskRun.open(path)
    if not found:
        names = ", ".join(node.name for node in nodes)
        raise RunError(f"{folder}: holds no run of the recipe ({names}); give the folder of the runs with --runs")
    return found


def _chosen(runs: Mapping[str, MaskRun], dataset: Dataset, videos: Sequence[str] | None) -> list[str]:
    if videos is not None:
        unknown = [video for video in videos if video not in dataset.videos]
        if unknown:
            raise ReportError(f"--videos: {dataset.name} has no video {unknown[0]!r}")
        return list(videos)
    there = {video for run in runs.values() for video in run.videos()}
    shown = [video for video in dataset.videos if video in there]
    if not shown:
        raise ReportError(
            f"no video of {dataset.name} is in the runs {', '.join(runs)}; is it another data set, or another split?"
        )
    return shown


def _evaluate(
    runs: Mapping[str, MaskRun],
    annotations: Mapping[str, VideoAnnotation],
    dataset: Dataset,
    progress: ProgressCallback,
) -> tuple[dict[str, Evaluation], tuple[str, ...]]:
    """Scores by run, and what could not be scored."""
    evaluations, problems = {}, []
    for name, run in runs.items() if annotations else ():
        try:
            evaluations[name] = evaluate_run(run, annotations, dataset=dataset, progress=progress)
        except (EvaluationError, MaskInterchangeError) as error:
            problems.append(f"run {name} has no scores: {error}")
    return evaluations, tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What the page's list shows of an expression.

    Attributes:
        video: number of the video on the page.
        name: id of the video.
        expression: its id.
        index: its position in the video.
        text: of the expression.
        disagreement: mean over the frames; None if nothing was voted.
        scores: J&F by run.
    """

    video: int
    name: str
    expression: str
    index: int
    text: str | None
    disagreement: float | None
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """Videos as the page holds them: entries of the list, and one block of JSON for each video."""

    entries: tuple[_Entry, ...]
    blocks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def opening(self) -> int | None:
        """The video that the page shows first: the one in which members disagree most."""
        worst = max(self.entries, key=lambda one: -1 if one.disagreement is None else one.disagreement, default=None)
        return None if worst is None else worst.video


def _pack(
    gatherer: Gatherer,
    dataset: Dataset,
    videos: Sequence[str],
    side: int,
    frame: "_Frame",
    progress: ProgressCallback = lambda done, total: None,
) -> _Packed:
    def pack(number: int) -> tuple[list[_Entry], str | None, tuple[str, ...]]:
        try:
            content = gatherer.gather(dataset.videos[videos[number]])
            return frame.entries(number, content), as_block(content, content.video.frames(), side), content.problems
        except DatasetError as error:
            return [], None, (str(error),)

    entries, blocks, problems = [], [], []
    progress(0, len(videos))
    for done, (of_video, block, complaints) in enumerate(in_threads(pack, range(len(videos))), start=1):
        entries += of_video
        blocks.append(block or "null")
        problems += complaints
        progress(done, len(videos))
    return _Packed(entries=tuple(entries), blocks=tuple(blocks), problems=tuple(problems))


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Everything on the page except the videos."""

    recipe: Recipe
    runs: Mapping[str, MaskRun]
    dataset: Dataset
    evaluations: Mapping[str, Evaluation]
    problems: tuple[str, ...]

    @cached_property
    def graph(self) -> Layout:
        """The graph of the recipe."""
        return lay_out(self.recipe.nodes)

    def _in_columns(self) -> list[Node]:
        """The nodes of the recipe as in the graph, column by column."""
        return [box.node for box in sorted(self.graph.boxes, key=lambda box: (box.x, box.y))]

    def entries(self, number: int, content: VideoContent) -> list[_Entry]:
        """What the list shows of each expression of video `number`."""
        scores = {name: _means_by_expression(one, content.video.id) for name, one in self.evaluations.items()}
        return [
            _Entry(
                video=number,
                name=content.video.id,
                expression=expression.id,
                index=index,
                text=expression.text,
                disagreement=None if values is None else round(float(values.mean()), 4),
                scores={run: of_run[expression.id] for run, of_run in scores.items() if expression.id in of_run},
            )
            for index, (expression, values) in enumerate(zip(content.expressions, content.disagreement, strict=True))
        ]

    def page(self, packed: _Packed) -> bytes:
        """The whole file."""
        environment = Environment(
            loader=PackageLoader("fusion_core.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        style, script = _asset("report.css"), _script()
        html = environment.get_template("report.html").render(
            recipe=self.recipe.name,
            dataset=self.dataset,
            version=version_of("fusion-core"),
            graph=self.graph,
            present=self.runs,
            finished={name: len(run.videos()) for name, run in self.runs.items()},
            scores=_scores(self._in_columns(), self.evaluations),
            videos=len(packed.blocks),
            expressions=len(packed.entries),
            problems=(*self.problems, *packed.problems),
            index=_in_html(self._index(packed)),
            blocks=[_in_html(block) for block in packed.blocks],
            opening=packed.opening,
            style=style,
            script=script,
            policy=_policy(style, script),
        )
        return html.encode()

    def _index(self, packed: _Packed) -> str:
        runs = [{"name": node.name, "kind": node.kind} for node in self._in_columns() if node.name in self.runs]
        result = self.recipe.result if self.recipe.result in self.runs else runs[-1]["name"]
        return json.dumps({"runs": runs, "result": result, "entries": [asdict(one) for one in packed.entries]})


def _means_by_expression(evaluation: Evaluation, video: str) -> dict[str, float]:
    targets = [target for one in evaluation.videos if one.video == video for target in one.targets]
    return {target.target.expression.id: round(Means.over([target]).jf, 4) for target in targets}


def _scores(nodes: Iterable[Node], evaluations: Mapping[str, Evaluation]) -> list[dict[str, object]]:
    rows = [
        {"run": node.name, "kind": node.kind, "jf": means.jf, "j": means.j, "f": means.f}
        for node in nodes
        if node.name in evaluations and (means := evaluations[node.name].overall)
    ]
    best = max((row["jf"] for row in rows), default=math.nan)
    return [row | {"best": row["jf"] == best} for row in rows]


def _script() -> str:
    """The page's only script. It is no module, and what a module exports is there for all of it."""
    return _asset("report.js") + "\n" + _asset("run_lengths.js").replace("export function", "function")


def _asset(name: str) -> str:
    return files("fusion_core.report").joinpath("templates", name).read_text("utf-8")


def _in_html(text: str) -> str:
    """JSON text that cannot end the HTML element around it."""
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(style: str, script: str) -> str:
    """A content security policy: the page can load nothing and runs only its own script."""

    def hashed(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    return f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; img-src data:"
