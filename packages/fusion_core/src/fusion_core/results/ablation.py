"""What each part of a recipe adds, as a table: measured scores beside published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rvos_evaluation.evaluation import Evaluation

from fusion_core.recipe.graph import Recipe


@dataclass(frozen=True, kw_only=True)
class Row:
    """One step of the table.

    Attributes:
        label: what was added.
        run: the best of the step's runs.
        jf: its J&F in percent.
        gain: over the step before, None in the first row.
        published: published J&F in percent, of which run.
    """

    label: str
    run: str
    jf: float
    gain: float | None
    published: tuple[str, float] | None


def scored_runs(recipe: Recipe) -> tuple[str, ...]:
    """The runs that the table needs, and the result."""
    return tuple(dict.fromkeys([*(run for step in recipe.ablation for run in step.runs), recipe.result]))


def ablation(recipe: Recipe, evaluations: Mapping[str, Evaluation]) -> tuple[Row, ...]:
    """The rows of a recipe's table.

    Args:
        recipe: says which runs stand for which step.
        evaluations: of all `scored_runs`.
    """
    rows: list[Row] = []
    for step in recipe.ablation:
        scores = {run: 100 * evaluations[run].overall.jf for run in step.runs}
        best = max(scores, key=lambda run: scores[run])
        rows.append(
            Row(
                label=step.label,
                run=best,
                jf=scores[best],
                gain=scores[best] - rows[-1].jf if rows else None,
                published=next(iter(step.published.items()), None),
            )
        )
    return tuple(rows)


def as_markdown(rows: Sequence[Row]) -> str:
    """The table as text that reads well in a terminal too; the last column only where something is on record."""
    on_record = any(row.published for row in rows)
    head = ["step", "run", "J&F", "gain", *(["published"] if on_record else [])]
    lines = [head, ["---", "---", "---:", "---:", *(["---:"] if on_record else [])]]
    for row in rows:
        gain = "" if row.gain is None else f"{row.gain:+.1f}"
        published = f"{row.published[1]:.1f} ({row.published[0]})" if row.published else ""
        lines.append([row.label, row.run, f"{row.jf:.1f}", gain, *([published] if on_record else [])])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "".join(f"| {line} |\n" for line in padded)
