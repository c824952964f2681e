"""A recipe as boxes and arrows: which run is made from which, and where each box is.

Columns go from left to right. Runs without inputs are in the first one. Every other run is as far to the right as the
runs made from it allow, so that arrows are short. Within a column, a run is near the middle of its neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fusion_core.recipe.nodes import ExistingRun, Node, Predict, Propagate

ROW, COLUMN_GAP, BOX_HEIGHT, MARGIN = 46, 64, 34, 8  # pixels
CHARACTER = 7.3  # width of a character of a box's text, in pixels
SWEEPS = 8  # times that the order in the columns is improved


def rule_of(node: Node) -> str:
    """A few words on how a run is made."""
    match node:
        case Predict() | Propagate():
            return f"model {node.model}"
        case ExistingRun():
            return "made elsewhere"
        case _:
            return f"{node.kind}: {node.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The box of a node: its left upper corner and width, in pixels."""

    node: Node
    x: float
    y: float
    width: float

    @property
    def rule(self) -> str:
        """The second line in the box."""
        return rule_of(self.node)

    @property
    def left(self) -> tuple[float, float]:
        """Arrows end here."""
        return self.x, self.y + BOX_HEIGHT / 2

    @property
    def right(self) -> tuple[float, float]:
        """Arrows begin here."""
        return self.x + self.width, self.y + BOX_HEIGHT / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The graph, as an SVG template needs it; lengths are pixels.

    Attributes:
        arrows: from one run's name to another's, with the path between their boxes.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[str, str, str], ...]
    width: float
    height: float
    box_height: float = BOX_HEIGHT


def lay_out(nodes: Sequence[Node]) -> Layout:
    """Find a place for every node and a path for every arrow."""
    columns = _ordered(_columns(nodes), nodes)
    tallest = max(map(len, columns), default=0)
    boxes: dict[str, Box] = {}
    x = float(MARGIN)
    for column in columns:
        width = 24 + CHARACTER * max(max(len(node.name), len(rule_of(node))) for node in column)
        top = MARGIN + (tallest - len(column)) * ROW / 2
        for row, node in enumerate(column):
            boxes[node.name] = Box(node=node, x=round(x, 1), y=round(top + row * ROW, 1), width=round(width, 1))
        x += width + COLUMN_GAP
    arrows = tuple(
        (source, node.name, _curve(boxes[source].right, boxes[node.name].left))
        for node in nodes
        for source in dict.fromkeys(node.inputs)
    )
    return Layout(
        boxes=tuple(boxes[node.name] for node in nodes),
        arrows=arrows,
        width=round(x - COLUMN_GAP + MARGIN, 1),
        height=2 * MARGIN + tallest * ROW - (ROW - BOX_HEIGHT),
    )


def _columns(nodes: Sequence[Node]) -> list[list[Node]]:
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth[source] for source in node.inputs), default=-1)
    for node in reversed(nodes):
        users = [depth[other.name] for other in nodes if node.name in other.inputs]
        if users and node.inputs:
            depth[node.name] = min(users) - 1
    columns: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        columns[depth[node.name]].append(node)
    return columns


def _ordered(columns: list[list[Node]], nodes: Sequence[Node]) -> list[list[Node]]:
    """Each column sorted by the mean height of the neighbours of its nodes, in sweeps to the right and back."""
    neighbours: dict[str, list[str]] = {node.name: list(node.inputs) for node in nodes}
    for node in nodes:
        for source in node.inputs:
            neighbours[source].append(node.name)
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            heights = _heights(columns)
            column.sort(key=lambda node: fmean(heights[name] for name in neighbours[node.name] or [node.name]))
    return columns


def _heights(columns: Sequence[Sequence[Node]]) -> Mapping[str, float]:
    return {node.name: row - (len(column) - 1) / 2 for column in columns for row, node in enumerate(column)}


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    bend = max(COLUMN_GAP / 2, (u - x) / 2)
    return f"M{x:.1f},{y:.1f} C{x + bend:.1f},{y:.1f} {u - bend:.1f},{v:.1f} {u:.1f},{v:.1f}"
