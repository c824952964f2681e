"""Attributes of an object measured on pixels; nothing here is taken from the grammar or from the motions."""

from dataclasses import dataclass, replace

import numpy as np
from rvos_synthetic import Scene, SceneObject
from rvos_synthetic.motion import Camera
from rvos_synthetic.rendering import render_labels
from rvos_synthetic.units import UNIT, frame_time

SIZE, FRAMES = (96, 160), 24
DIRECTIONS = [(np.cos(angle), np.sin(angle)) for angle in np.pi * np.arange(16) / 16]


@dataclass(frozen=True)
class Seen:
    """An object on all frames, inside the picture or not.

    Attributes:
        radii: half of its greatest length, in pixels, float [T].
        x, y: its centre in the scene, in pixels, float [T].
        picture_x, picture_y: its centre in the picture, in pixels, float [T].
        inside: whether part of it is in the picture, bool [T].
    """

    radii: np.ndarray
    x: np.ndarray
    y: np.ndarray
    picture_x: np.ndarray
    picture_y: np.ndarray
    inside: np.ndarray

    def size(self) -> str | None:
        """Small or big, None when it changes."""
        if self.radii.max() > 1.3 * self.radii.min():
            return None
        return "small" if self.radii.mean() < 0.115 * SIZE[0] else "big"

    def side(self) -> str | None:
        """The half of the picture in which its centre stays, None if it changes."""
        return keeps_to(self.picture_x[self.inside] / SIZE[1], "left", "right")

    def level(self) -> str | None:
        """As `side`, for top and bottom."""
        return keeps_to(self.picture_y[self.inside] / SIZE[0], "top", "bottom")

    def motion(self) -> str:
        """How its centre moves, or what else changes if it does not."""
        x, y = self.x / SIZE[0], self.y / SIZE[0]
        ways = {"left": x[0] - x[-1], "right": x[-1] - x[0], "up": y[0] - y[-1], "down": y[-1] - y[0]}
        direction, way = max(ways.items(), key=lambda pair: pair[1])
        steps = np.diff(x) if direction in ("left", "right") else np.diff(y)
        if way > 0.5 and (np.sign(steps) == np.sign(steps[0])).all():
            return direction
        wide, high = np.ptp(x), np.ptp(y)
        if min(wide, high) > 0.15:
            return "circling"
        if max(wide, high) > 0.15:
            return "swinging"
        if self.radii[-1] > 1.5 * self.radii[0]:
            return "growing"
        return "shrinking" if self.radii[0] > 1.5 * self.radii[-1] else "still or spinning"


def keeps_to(places: np.ndarray, first: str, last: str) -> str | None:
    if (places < 0.5).all():
        return first
    return last if (places >= 0.5).all() else None


def seen(scene: Scene, item: SceneObject) -> Seen:
    """Measure an object rendered alone at a third of its size, so that there is room on all sides."""
    height, width = SIZE
    motion = replace(
        item.motion, x=(item.motion.x + scene.width) // 3, y=(item.motion.y + UNIT) // 3, reach=item.motion.reach // 3
    )
    resting = Camera(drift=(0, 0), shake=0, trembling=0)
    alone = replace(scene, layers=(replace(item, radius=item.radius // 3, motion=motion),), camera=resting)
    labels = render_labels(alone, (3 * height, 3 * width), FRAMES)
    rows = []
    for t in range(FRAMES):
        left, top = (place * height / UNIT for place in scene.camera.place(frame_time(t, FRAMES)))
        y, x = (pixels - room for pixels, room in zip(np.nonzero(labels[t]), SIZE, strict=True))
        middle_x, middle_y = x.mean(), y.mean()
        within = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        radius = max(np.ptp(x * c + y * s) for c, s in DIRECTIONS) / 2
        rows.append((radius, middle_x, middle_y, middle_x - left, middle_y - top, within.any()))
    return Seen(*(np.array(column) for column in zip(*rows, strict=True)))
