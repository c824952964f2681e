"""A plan as a table for people, and as JSON for programs."""

import json
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusion_core.recipe.graph import Predict, Propagate, Vote
from fusion_core.running.context import Place
from fusion_core.running.plan import NodePlan, Plan
from fusion_core.terminal.live_table import duration


def as_table(place: Place, plan: Plan) -> RenderableType:
    """One row per node, in the order in which they are made."""
    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, overflow="fold")
    for name in ("made by", "from"):
        table.add_column(name, overflow="fold")
    for name in ("done", "missing", "frames", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for look in plan.nodes:
        time = "" if not look.missing else "unknown" if look.seconds is None else duration(look.seconds)
        row = [look.node.name, _made_by(look), ", ".join(look.node.inputs)]
        counts = [str(len(look.done)), str(len(look.missing) or ""), str(look.frames or "")]
        table.add_row(*row, *counts, time, style="dim" if not look.missing else None)
    total = "unknown until each program has done a video" if plan.seconds is None else duration(plan.seconds)
    notes = [Text(f"{look.node.name}: {look.note}") for look in plan.nodes if look.note]
    last = f"{plan.missing} videos to make in {len(plan.nodes)} runs of {len(plan.videos)}; with one worker: {total}"
    return Group(table, *notes, Text(last))


def as_json(place: Place, plan: Plan) -> str:
    """Everything, down to the ids of videos."""
    tree = {
        "recipe": place.recipe.name,
        "result": place.recipe.result,
        "videos": len(plan.videos),
        "missing": plan.missing,
        "seconds": plan.seconds,
        "nodes": [_node(place, look) for look in plan.nodes],
    }
    return json.dumps(tree, indent=1)


def _node(place: Place, look: NodePlan) -> dict[str, Any]:
    node = look.node
    tree: dict[str, Any] = {"name": node.name, "kind": node.kind, "inputs": list(node.inputs)}
    if isinstance(node, Predict | Propagate):
        model = place.recipe.model(node)
        tree |= {"model": model.name, "program": list(model.program), "options": {**model.options, **node.options}}
    return tree | {
        "run": str(place.run(node.name)),
        "done": list(look.done),
        "missing": list(look.missing),
        "frames": look.frames,
        "seconds": look.seconds,
        "note": look.note,
    }


def _made_by(look: NodePlan) -> str:
    match look.node:
        case Predict() | Propagate() as node:
            return f"{node.kind} {node.model}"
        case Vote() as node:
            return f"vote, {node.threshold} of {node.out_of}"
        case node:
            return f"there: {node.path}"
