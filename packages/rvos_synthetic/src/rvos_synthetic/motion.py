"""How objects and the camera move: a place, a scale and an angle at every time (units: `rvos_synthetic.units`)."""

from dataclasses import dataclass

from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.units import LONG, TURN, UNIT, cosine, sine

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
MOTIONS = (*DIRECTIONS, "still", "circling", "swinging", "spinning", "growing", "shrinking")
RESIZING = ("growing", "shrinking")

CAMERA_REACH = 75  # either way; the slowest object with a direction goes five times as far
CAMERA_SHAKE = 14


@dataclass(frozen=True, slots=True)
class Pose:
    """An object at one time: its centre, its radius as a ratio of the usual one, its angle."""

    x: int
    y: int
    scale: int
    angle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """The path of an object through the scene.

    Attributes:
        kind: one of MOTIONS.
        x, y: its place half-way through the video, or the middle of its circle or swing.
        reach: how far it goes either way.
        tilt: its angle at the start.
        turn: the angle by which it turns during the video.
        laps: the angle of the circle, or of the sine of the swing, that it covers during the video.
        upright: whether it swings up and down instead of from side to side.
    """

    kind: str
    x: int
    y: int
    reach: int
    tilt: int
    turn: int
    laps: int
    upright: bool

    @classmethod
    def sample(cls, random: RandomStream, kind: str, x: int, y: int) -> "Motion":
        """A random motion of this kind around (x, y)."""
        slow_turn = random.between(-TURN // 8, TURN // 8)
        fast_turn = random.between(TURN, 3 * TURN // 2) * random.choice((-1, 1))
        if kind in DIRECTIONS:
            reach = random.between(5 * CAMERA_REACH, 9 * CAMERA_REACH)
        else:
            reach = random.between(UNIT // 9, UNIT // 6)
        return cls(
            kind=kind,
            x=x,
            y=y,
            reach=reach,
            tilt=random.below(TURN),
            turn=fast_turn if kind == "spinning" else slow_turn,
            laps=random.between(TURN, 3 * TURN // 2) * random.choice((-1, 1)),
            upright=random.chance(30),
        )

    def pose(self, time: int) -> Pose:
        """Its pose at a time from 0 to LONG."""
        x, y, scale = self.x, self.y, UNIT
        turned = self.tilt + self.laps * time // LONG
        if self.kind in DIRECTIONS:
            across, along = DIRECTIONS[self.kind]
            way = self.reach * (2 * time - LONG) // LONG
            wobble = UNIT // 64 * sine(turned) // UNIT
            x += across * way + along * wobble
            y += along * way + across * wobble
        elif self.kind == "circling":
            x += self.reach * cosine(turned) // UNIT
            y += self.reach * sine(turned) // UNIT
        elif self.kind == "swinging":
            swing = 3 * self.reach // 2 * sine(turned) // UNIT
            x, y = (x, y + swing) if self.upright else (x + swing, y)
        elif self.kind in RESIZING:
            grown = time if self.kind == "growing" else LONG - time
            scale = (UNIT * 7 + UNIT * 7 * grown // LONG) // 10  # 0.7 to 1.4
        return Pose(x, y, scale, self.tilt + self.turn * time // LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera that drifts and shakes; without the shaking it is at (0, 0) half-way through the video."""

    drift: tuple[int, int]
    shake: int
    trembling: int

    @classmethod
    def sample(cls, random: RandomStream) -> "Camera":
        """A random camera."""
        drift = (random.between(-CAMERA_REACH, CAMERA_REACH), random.between(-CAMERA_REACH, CAMERA_REACH))
        return cls(drift=drift, shake=random.between(0, CAMERA_SHAKE), trembling=random.below(TURN))

    def place(self, time: int) -> tuple[int, int]:
        """The point (x, y) of the scene at the upper left corner of the picture."""
        along = 2 * time - LONG
        sway = self.trembling + 5 * TURN * time // LONG
        return (
            self.drift[0] * along // LONG + self.shake * sine(sway) // UNIT,
            self.drift[1] * along // LONG + self.shake * cosine(2 * sway) // UNIT,
        )
