"""A plan as a table for people, and as JSON for programs."""

import json
from typing import Any

from program_kit.progress import duration
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusion_core.recipe.nodes import ExistingRun, Node, Predict, Propagate
from fusion_core.running.context import RunContext
from fusion_core.running.plan import NodePlan, Plan


def as_table(plan: Plan) -> RenderableType:
    """One row for each node, in the order in which they are made."""
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, overflow="fold")
    for name in ("made by", "from"):
        table.add_column(name, overflow="fold")
    for name in ("done", "missing", "frames", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in plan.nodes:
        time = "" if not one.missing else "unknown" if one.seconds is None else duration(one.seconds)
        row = [one.node.name, _made_by(one.node), ", ".join(one.node.inputs)]
        counts = [str(len(one.done)), str(len(one.missing) or ""), str(one.frames or "")]
        table.add_row(*row, *counts, time, style="dim" if not one.missing else None)
    total = "unknown until each program has done a video" if plan.seconds is None else duration(plan.seconds)
    notes = [Text(f"{one.node.name}: {one.note}") for one in plan.nodes if one.note]
    last = f"{plan.missing} videos to make in {len(plan.nodes)} runs of {len(plan.videos)}; with one worker: {total}"
    if plan.lacks_weights:
        notes.append(Text(plan.lacks_weights))
    return Group(table, *notes, Text(last))


def as_json(plan: Plan) -> str:
    """Everything, with the ids of videos."""
    tree = {
        "recipe": plan.context.recipe.name,
        "result": plan.context.recipe.result,
        "videos": len(plan.videos),
        "missing": plan.missing,
        "seconds": plan.seconds,
        "models_without_weights": list(plan.models_without_weights),
        "nodes": [_node(plan.context, one) for one in plan.nodes],
    }
    return json.dumps(tree, indent=1)


def _node(context: RunContext, plan: NodePlan) -> dict[str, Any]:
    node = plan.node
    tree: dict[str, Any] = {"name": node.name, "kind": node.kind, "inputs": list(node.inputs)}
    if isinstance(node, Predict | Propagate):
        model = context.recipe.model(node)
        tree |= {"model": model.name, "program": list(model.program), "options": {**model.options, **node.options}}
    return tree | {
        "run": str(context.run(node.name)),
        "done": list(plan.done),
        "missing": list(plan.missing),
        "frames": plan.frames,
        "seconds": plan.seconds,
        "note": plan.note,
    }


def _made_by(node: Node) -> str:
    match node:
        case Predict() | Propagate():
            return f"{node.kind} {node.model}"
        case ExistingRun():
            return f"there: {node.path}"
        case _:
            return f"{node.kind}, {node.words}"
