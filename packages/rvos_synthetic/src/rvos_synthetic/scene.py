"""What is in a video: objects that look alike, things that hide them, a camera (units: `rvos_synthetic.units`)."""

from dataclasses import dataclass, replace

from rvos_synthetic.dice import Dice
from rvos_synthetic.motion import MOTIONS, RESIZING, Camera, Motion, Pose
from rvos_synthetic.shapes import ROUND, SHAPES
from rvos_synthetic.textures import COLOURS, PATTERNS
from rvos_synthetic.units import LONG, UNIT

RADII = {"small": (88, 108), "big": (150, 190)}
RADIUS_WHILE_RESIZING = (112, 132)  # times 0.7 to 1.4: neither small nor big
PATH_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What words can name of an object.

    Attributes:
        colour: one of COLOURS.
        pattern: one of PATTERNS.
        shape: one of SHAPES.
        size: one of RADII; not to be had from an object that grows or shrinks.
        motion: one of MOTIONS.
    """

    colour: str
    pattern: str
    shape: str
    size: str
    motion: str

    @classmethod
    def by_lot(cls, dice: Dice) -> "Look":
        """Any look."""
        return cls(
            colour=dice.one_of(list(COLOURS)),
            pattern=dice.one_of(("plain", *PATTERNS)),
            shape=dice.one_of(SHAPES),
            size=dice.one_of(list(RADII)),
            motion=dice.one_of(("still", *MOTIONS)),
        ).possible(dice)

    def like(self, dice: Dice) -> "Look":
        """A look that differs from this one in little: mostly one thing, sometimes two, rarely nothing."""
        attributes = dice.shuffled(("colour", "pattern", "shape", "size", "motion"))
        other = self
        for attribute in attributes[: dice.one_of((0, 1, 1, 1, 1, 1, 2))]:
            other = replace(other, **{attribute: getattr(Look.by_lot(dice), attribute)})
        return other.possible(dice)

    def possible(self, dice: Dice) -> "Look":
        """Itself, or with another shape when nobody could see the motion of this one."""
        if self.motion == "spinning" and self.shape in ROUND:
            return replace(self, shape=dice.one_of([shape for shape in SHAPES if shape not in ROUND]))
        return self

    @property
    def resizing(self) -> bool:
        """Whether it grows or shrinks."""
        return self.motion in RESIZING


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObject:
    """An object: its label in the label images (from 1), what it looks like and how it moves."""

    label: int
    look: Look
    radius: int
    motion: Motion
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Occluder:
    """Something of the background that stands before objects and has no label.

    Attributes:
        kind: "post" (upright bar), "beam" (level bar) or "foliage" (scattered patches).
        start: where a bar begins, x of a post or y of a beam in the scene.
        width: of a bar.
        seed: which noise is on it.
    """

    kind: str
    start: int
    width: int
    seed: int

    @classmethod
    def by_lot(cls, dice: Dice, width: int) -> "Occluder":
        """Any occluder for a picture of this width."""
        kind = dice.one_of(("post", "post", "beam", "foliage"))
        length = width if kind == "post" else UNIT
        return cls(
            kind=kind,
            start=dice.between(length // 8, length * 7 // 8),
            width=dice.between(60, 240 if kind == "post" else 140),
            seed=dice.below(2**31),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything about a video but its size in pixels and its number of frames.

    Attributes:
        width: of the picture; its height is UNIT.
        layers: what is painted, from back to front.
        camera: what moves the whole picture.
        light: brightness at the beginning and the end, in 128ths.
        softness: how often neighbouring pixels are blended.
        grain: strongest change of a pixel by noise, in grey levels.
        seed: which background.
    """

    width: int
    layers: tuple[SceneObject | Occluder, ...]
    camera: Camera
    light: tuple[int, int]
    softness: int
    grain: int
    seed: int

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """Objects in the order of their labels 1, 2, ..."""
        return tuple(sorted((o for o in self.layers if isinstance(o, SceneObject)), key=lambda o: o.label))

    def path(self, item: SceneObject) -> list[Pose]:
        """Its poses in the picture, at times close to each other, while any of it may be within the picture."""
        poses = []
        for step in range(PATH_STEPS + 1):
            time = step * LONG // PATH_STEPS
            pose, (left, top) = item.motion.pose(time), self.camera.place(time)
            x, y, radius = pose.x - left, pose.y - top, item.radius * pose.scale // UNIT
            if -radius < x < self.width + radius and -radius < y < UNIT + radius:
                poses.append(Pose(x, y, pose.scale, pose.angle))
        return poses


def compose(dice: Dice, width: int) -> Scene:
    """A scene of two to six objects, most of which look like one of them, with up to two occluders.

    Args:
        dice: which scene.
        width: of the picture.
    """
    looks = [Look.by_lot(dice)]
    for _ in range(dice.one_of((1, 2, 2, 3, 3, 4, 5))):
        looks.append(looks[0].like(dice) if dice.chance(85) else Look.by_lot(dice))
    cells = dice.shuffled([(column, row) for column in (1, 3, 5) for row in (1, 3)])
    layers: list[SceneObject | Occluder] = []
    for label, (look, (column, row)) in enumerate(zip(dice.shuffled(looks), cells, strict=False), start=1):
        x = column * width // 6 + dice.between(-width // 12, width // 12)
        y = row * UNIT // 4 + dice.between(-UNIT // 10, UNIT // 10)
        layers.append(
            SceneObject(
                label=label,
                look=look,
                radius=dice.between(*(RADIUS_WHILE_RESIZING if look.resizing else RADII[look.size])),
                motion=Motion.by_lot(dice, look.motion, x, y),
                seed=dice.below(2**31),
            )
        )
    layers += [Occluder.by_lot(dice, width) for _ in range(dice.one_of((0, 1, 1, 2)))]
    return Scene(
        width=width,
        layers=tuple(dice.shuffled(layers)),
        camera=Camera.by_lot(dice),
        light=(dice.between(102, 143), dice.between(102, 143)),
        softness=dice.one_of((1, 1, 1, 2)),
        grain=dice.between(2, 12),
        seed=dice.below(2**31),
    )
