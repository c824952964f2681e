"""What is in a video: objects that look alike, occluders, a camera (units: `rvos_synthetic.units`)."""

from dataclasses import dataclass, replace

from rvos_synthetic.motion import MOTIONS, RESIZING, Camera, Motion, Pose
from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.shapes import ROUND, SHAPES
from rvos_synthetic.textures import COLOURS, PATTERNS
from rvos_synthetic.units import LONG, UNIT

RADII = {"small": (88, 108), "big": (150, 190)}
RADIUS_WHILE_RESIZING = (112, 132)  # times 0.7 to 1.4: neither small nor big
PATH_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The attributes of an object that words can name.

    Attributes:
        colour: one of COLOURS.
        pattern: one of PATTERNS.
        shape: one of SHAPES.
        size: one of RADII; without meaning for an object that grows or shrinks.
        motion: one of MOTIONS.
    """

    colour: str
    pattern: str
    shape: str
    size: str
    motion: str

    @classmethod
    def sample(cls, random: RandomStream) -> "Look":
        """A random look."""
        return cls(
            colour=random.choice(list(COLOURS)),
            pattern=random.choice(("plain", *PATTERNS)),
            shape=random.choice(SHAPES),
            size=random.choice(list(RADII)),
            motion=random.choice(("still", *MOTIONS)),
        ).possible(random)

    def similar(self, random: RandomStream) -> "Look":
        """A look that differs from this one little: mostly in one attribute, sometimes in two, rarely in none."""
        attributes = random.shuffled(("colour", "pattern", "shape", "size", "motion"))
        other = self
        for attribute in attributes[: random.choice((0, 1, 1, 1, 1, 1, 2))]:
            other = replace(other, **{attribute: getattr(Look.sample(random), attribute)})
        return other.possible(random)

    def possible(self, random: RandomStream) -> "Look":
        """This look, or one with another shape if its motion could not be seen."""
        if self.motion == "spinning" and self.shape in ROUND:
            return replace(self, shape=random.choice([shape for shape in SHAPES if shape not in ROUND]))
        return self

    @property
    def resizing(self) -> bool:
        """Whether it grows or shrinks."""
        return self.motion in RESIZING


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObject:
    """An object: its label in the label images (from 1), its look and its motion."""

    label: int
    look: Look
    radius: int
    motion: Motion
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Occluder:
    """Something that hides objects and has no label.

    Attributes:
        kind: "post" (upright bar), "beam" (level bar) or "foliage" (scattered patches).
        start: where a bar begins: x of a post, y of a beam, in the scene.
        width: of a bar.
        seed: of its texture.
    """

    kind: str
    start: int
    width: int
    seed: int

    @classmethod
    def sample(cls, random: RandomStream, width: int) -> "Occluder":
        """A random occluder for a picture of this width."""
        kind = random.choice(("post", "post", "beam", "foliage"))
        length = width if kind == "post" else UNIT
        return cls(
            kind=kind,
            start=random.between(length // 8, length * 7 // 8),
            width=random.between(60, 240 if kind == "post" else 140),
            seed=random.below(2**31),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything about a video except its size in pixels and its number of frames.

    Attributes:
        width: of the picture; its height is UNIT.
        layers: what is rendered, from back to front.
        camera: moves the whole picture.
        light: brightness at the start and at the end, in 128ths.
        softness: how many times neighbouring pixels are blended.
        grain: largest change of a pixel by noise, in grey levels.
        seed: of the background.
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
        """Poses of an object in the picture, at close intervals, while part of it may be in the picture."""
        poses = []
        for step in range(PATH_STEPS + 1):
            time = step * LONG // PATH_STEPS
            pose, (left, top) = item.motion.pose(time), self.camera.place(time)
            x, y, radius = pose.x - left, pose.y - top, item.radius * pose.scale // UNIT
            if -radius < x < self.width + radius and -radius < y < UNIT + radius:
                poses.append(Pose(x, y, pose.scale, pose.angle))
        return poses


def compose(random: RandomStream, width: int) -> Scene:
    """Compose a scene of two to six objects, most of them similar to the first, with up to two occluders.

    Args:
        random: decides everything.
        width: of the picture.
    """
    looks = [Look.sample(random)]
    for _ in range(random.choice((1, 2, 2, 3, 3, 4, 5))):
        looks.append(looks[0].similar(random) if random.chance(85) else Look.sample(random))
    cells = random.shuffled([(column, row) for column in (1, 3, 5) for row in (1, 3)])
    layers: list[SceneObject | Occluder] = []
    for label, (look, (column, row)) in enumerate(zip(random.shuffled(looks), cells, strict=False), start=1):
        x = column * width // 6 + random.between(-width // 12, width // 12)
        y = row * UNIT // 4 + random.between(-UNIT // 10, UNIT // 10)
        layers.append(
            SceneObject(
                label=label,
                look=look,
                radius=random.between(*(RADIUS_WHILE_RESIZING if look.resizing else RADII[look.size])),
                motion=Motion.sample(random, look.motion, x, y),
                seed=random.below(2**31),
            )
        )
    layers += [Occluder.sample(random, width) for _ in range(random.choice((0, 1, 1, 2)))]
    return Scene(
        width=width,
        layers=tuple(random.shuffled(layers)),
        camera=Camera.sample(random),
        light=(random.between(102, 143), random.between(102, 143)),
        softness=random.choice((1, 1, 1, 2)),
        grain=random.between(2, 12),
        seed=random.below(2**31),
    )
