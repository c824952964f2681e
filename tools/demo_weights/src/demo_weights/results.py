"""The page of results and its picture, from the scores of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rvos_evaluation.evaluation import Evaluation
from rvos_synthetic import EDITION

from demo_weights.stages import SIZE, VIDEOS
from demo_weights.statistics import KINDS, Interval, Scores, by_kind, gain, interval, jf_of_targets, worth_of_scores

WIDTH, ROW, LEFT, RIGHT = 640, 44, 190, 60  # of the picture, in pixels
BAR = 22


@dataclass(frozen=True, slots=True)
class Step:
    """A row of the ablation: what is added, the best run, and its scores."""

    label: str
    run: str
    evaluation: Evaluation


def page(
    programs: Mapping[str, Evaluation],
    propagators: Sequence[str],
    steps: Sequence[Step],
    agreed: Mapping[str, Evaluation],
    on_real: Mapping[str, Evaluation],
) -> str:
    """All tables, in Markdown.

    Args:
        programs: scores of every program on the test videos.
        propagators: those among them that take masks in place of expressions.
        steps: of the recipe `demo`.
        agreed: scores of its runs with key frames by agreement.
        on_real: scores of propagators on real frames; empty where there are none.
    """
    members = {name: one for name, one in programs.items() if name not in propagators}
    videos = len(next(iter(programs.values())).videos)
    return f"""# What the demo weights score

On {videos} test videos of `rvos_synthetic`, edition {EDITION}: {SIZE[1]}x{SIZE[0]} pixels, 12 frames. They chose
no weights: {VIDEOS["valid"]} validation videos did. Each program ran with its shipped weights; how these
were trained stands in a file beside them. AOT and DeAOT were given the ground truth mask of each object on the frame
that first shows it, which counts as one of its 12. In brackets: where 95 of 100 samples of as many videos have the
mean (bootstrap over videos).

{table(("program", "J&F", "J", "F"), [_scores(name, one) for name, one in programs.items()])}
The recipe `demo`, from predictions to the last vote; gains are of the same expressions before and after:

{table(("step", "run", "J&F", "gain"), _steps(steps))}
J&F of the expressions that say something of each attribute; most say something of several:

{table(("program", *KINDS), [_kinds(name, one) for name, one in members.items()])}
What scores are worth: Spearman's correlation of score and J over the frames of an expression, and over all frames; J
at the key frame, which has the highest score, beside the mean over all frames and the best frame. MUTR has one score a
clip. A run `<x>_agreed` has the masks of `<x>`; its scores are how far others agree with them.

{table(("program", "in a video", "over all", "key frame", "mean", "best frame"), _worths({**members, **agreed}))}
## Real frames

{real_frames(on_real)}
All tables and the picture of the ablation in README are made by

    uv run --all-packages demo-weights score
"""


def real_frames(scores: Mapping[str, Evaluation]) -> str:
    """What propagators that know drawn shapes only make of real videos, in Markdown."""
    if not scores:
        return "Not measured: the videos were not there (`RVOS_DATA`).\n"
    videos = [one.video for one in next(iter(scores.values())).videos]
    rows = [
        (name, *(f"{100 * value:.1f}" for value in (one.overall.jf, one.overall.j, one.overall.f)), *_each(one))
        for name, one in scores.items()
    ]
    return f"""AOT and DeAOT have seen drawn shapes only, and carry whatever they are given. Here they got the true mask
of the first frame of {len(videos)} real videos of 480p; J and F are those of DAVIS, over all later frames but the last.
They are sequences of DAVIS 2016 (Perazzi et al., CVPR 2016), shortened to at most 60 frames and saved again as JPEG;
CC BY-NC 4.0. The videos are not part of this repository, and no weights were trained or chosen with them.

{table(("program", "J&F", "J", "F", *videos), rows)}"""


def _each(evaluation: Evaluation) -> list[str]:
    """J&F of every video."""
    return [f"{values.mean():.1f}" for values in jf_of_targets(evaluation)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _scores(name: str, one: Evaluation) -> tuple[str, ...]:
    means = one.overall
    return name, str(interval(jf_of_targets(one))), f"{100 * means.j:.1f}", f"{100 * means.f:.1f}"


def _steps(steps: Sequence[Step]) -> list[tuple[str, ...]]:
    rows = []
    for number, step in enumerate(steps):
        added = gain(steps[number - 1].evaluation, step.evaluation) if number else None
        gained = "" if added is None else f"{added.value:+.1f} ({added.low:+.1f} to {added.high:+.1f})"
        rows.append((step.label, f"`{step.run}`", str(interval(jf_of_targets(step.evaluation))), gained))
    return rows


def _kinds(name: str, one: Evaluation) -> tuple[str, ...]:
    found = by_kind(one)
    return name, *(f"{found[kind]:.1f}" if kind in found else "" for kind in KINDS)


def _worths(members: Mapping[str, Evaluation]) -> list[tuple[str, ...]]:
    return [(name, *_worth(worth_of_scores(one))) for name, one in members.items()]


def _worth(scores: Scores) -> tuple[str, ...]:
    correlations = ("" if one is None else f"{one:.2f}" for one in (scores.correlation, scores.overall))
    return *correlations, *(f"{one:.1f}" for one in (scores.key_frame, scores.any_frame, scores.best_frame))


def picture(steps: Sequence[Step]) -> str:
    """The ablation as bars with their intervals, an SVG that reads on light and dark pages."""
    rows = [(step.label, interval(jf_of_targets(step.evaluation))) for step in steps]
    height = ROW * len(rows) + 40
    bars = "".join(_bar(number, label, found) for number, (label, found) in enumerate(rows))
    ticks = "".join(_tick(percent, height) for percent in range(0, 101, 20))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#777">\n'
        f"<title>J&amp;F of the recipe demo, step by step</title>\n{ticks}{bars}</svg>\n"
    )


def _x(percent: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * percent / 100


def _tick(percent: int, height: int) -> str:
    x = _x(percent)
    return (
        f'<line x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{height - 26}" stroke="#777" stroke-opacity="0.25"/>'
        f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{percent}</text>\n'
    )


def _bar(number: int, label: str, found: Interval) -> str:
    top = ROW * number + 14
    middle = top + BAR / 2
    return (
        f'<text x="{LEFT - 10}" y="{middle + 5:.1f}" text-anchor="end">{label}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{_x(found.value) - LEFT:.1f}" height="{BAR}" fill="#4a90d9"/>'
        f'<line x1="{_x(found.low):.1f}" y1="{middle}" x2="{_x(found.high):.1f}" y2="{middle}" stroke="#777"'
        ' stroke-width="2"/>'
        f'<text x="{_x(found.high) + 8:.1f}" y="{middle + 5:.1f}">{found.value:.1f}</text>\n'
    )
