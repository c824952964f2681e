"""From a scene to pixels, in integers throughout: the object at each pixel, and its colour."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_synthetic.motion import CAMERA_REACH, CAMERA_SHAKE, Pose
from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.scene import Occluder, Scene, SceneObject
from rvos_synthetic.shapes import stencil
from rvos_synthetic.textures import Area, Bytes, cloudy_noise, muted_colours, noise, surface
from rvos_synthetic.units import LONG, UNIT, cosine, frame_time, sine

Mask = NDArray[np.bool_]
Size = tuple[int, int]

SUBPIXELS = 16
FRACTION = 14  # bits of the steps by which a stencil is sampled
MARGIN = 128  # of the scene around the picture, for which noise is made too; the camera stays well within
FOLIAGE_PERCENT = 16
LIGHT_BITS = 7


def render_labels(scene: Scene, size: Size, count: int) -> Bytes:
    """The label of the object at each pixel: uint8 [count, H, W], 0 where there is none.

    Args:
        scene: what to render.
        size: (H, W) in pixels.
        count: number of frames.
    """
    stage = _Stage(scene, size)
    labels = np.zeros((count, *size), np.uint8)
    for t in range(count):
        for part in stage.parts(frame_time(t, count)):
            labels[t][part.window][part.inside] = part.label
    return labels


def render(scene: Scene, size: Size, count: int) -> tuple[Bytes, Bytes]:
    """The frames as RGB uint8 [count, H, W, 3], and their labels as from `render_labels`."""
    stage = _Stage(scene, size)
    frames = np.empty((count, *size, 3), np.uint8)
    labels = np.zeros((count, *size), np.uint8)
    background = stage.texture(scene.seed)
    for t in range(count):
        time = frame_time(t, count)
        frames[t] = background[stage.view(time)]
        for part in stage.parts(time):
            labels[t][part.window][part.inside] = part.label
            frames[t][part.window][part.inside] = stage.colours(part)
    return photograph(frames, scene), labels


def full_area(scene_object: SceneObject, time: int, height: int) -> int:
    """How many pixels an object would have if nothing hid it, in a picture of this height."""
    fine = _stencil_radius(height)
    radius = _subpixels(scene_object.radius * scene_object.motion.pose(time).scale // UNIT, height)
    return int(stencil(scene_object.look.shape, fine).sum()) * radius * radius // (fine * SUBPIXELS) ** 2


def photograph(frames: Bytes, scene: Scene) -> Bytes:
    """Add what a camera adds to frames [T, H, W, 3]: changing light, a little blur, and grain."""
    count, height, width, _ = frames.shape
    random = RandomStream(scene.seed, 1)
    tile = (random.bytes(height + 16, width + 16).astype(np.int16) - 128) * scene.grain // 128
    taken = np.empty_like(frames)
    for t in range(count):  # one by one: a frame fits into the processor's cache
        light = scene.light[0] + (scene.light[1] - scene.light[0]) * frame_time(t, count) // LONG
        pixels = frames[t].astype(np.int16).reshape(height, width * 3)
        for _ in range(scene.softness):
            _blend(pixels, 1)
            _blend(pixels.T, 3)
        lit = pixels.reshape(height, width, 3).astype(np.uint16) * np.uint16(light) >> LIGHT_BITS
        y, x = random.below(17), random.below(17)
        grainy = lit.view(np.int16) + tile[y : y + height, x : x + width, None]
        taken[t] = grainy.clip(0, 255)
    return taken


def _blend(lines: NDArray[np.int16], step: int) -> None:
    """Mix every line, in place, with a quarter of the lines `step` before and after it; the outermost lines stay."""
    blended = lines[: -2 * step] + lines[2 * step :]
    blended += 2 * lines[step:-step]
    blended += 2
    blended >>= 2
    lines[step:-step] = blended


@dataclass(frozen=True, slots=True)
class _Part:
    """The pixels of one layer in one frame.

    Attributes:
        layer: the layer.
        window: the part of the picture that holds them.
        inside: which pixels of the window, bool [h, w].
        source: for an object, the index into its stencil of each pixel of the window, int32 [h, w]; None for an
            occluder.
        view: the part of the stage's textures that the camera sees.
        label: the object's label, 0 for an occluder.
    """

    layer: SceneObject | Occluder
    window: tuple[slice, slice]
    inside: Mask
    source: NDArray[np.int32] | None
    view: tuple[slice, slice]
    label: int


class _Stage:
    """A scene at one size in pixels; makes once what all frames share."""

    def __init__(self, scene: Scene, size: Size):
        self._scene = scene
        self._height, self._width = size
        self._fine = _stencil_radius(self._height)
        self._margin = ((CAMERA_REACH + CAMERA_SHAKE) * self._height // UNIT) + 1  # in pixels
        rows = np.arange(-self._margin, self._height + self._margin, dtype=np.int32)
        columns = np.arange(-self._margin, self._width + self._margin, dtype=np.int32)
        self._area = Area(
            lines=(2 * rows + 1) * UNIT // (2 * self._height) + MARGIN,
            columns=(2 * columns + 1) * UNIT // (2 * self._height) + MARGIN,
            extent=(UNIT + 2 * MARGIN, scene.width + 2 * MARGIN),
        )
        self._stencils = {o.label: stencil(o.look.shape, self._fine).ravel() for o in scene.objects}
        self._hidden = {o: self._occlusion(o) for o in scene.layers if isinstance(o, Occluder)}
        self._surfaces: dict[SceneObject | Occluder, Bytes] = {}

    def view(self, time: int) -> tuple[slice, slice]:
        """The part of the stage's textures that the camera sees."""
        left, top = (place * self._height // UNIT + self._margin for place in self._scene.camera.place(time))
        return slice(top, top + self._height), slice(left, left + self._width)

    def texture(self, seed: int) -> Bytes:
        """The texture of the background or of an occluder, uint8 [H + 2 * margin, W + 2 * margin, 3]."""
        random = RandomStream(seed, 0)
        bumps = random.between(120, 420)
        return muted_colours(random)[cloudy_noise(random, self._area, bumps)]

    def parts(self, time: int) -> Iterator[_Part]:
        """The pixels of the layers at one time, from back to front, without layers outside the picture."""
        view = self.view(time)
        top, left = view[0].start - self._margin, view[1].start - self._margin
        for layer in self._scene.layers:
            if isinstance(layer, Occluder):
                everything = slice(0, self._height), slice(0, self._width)
                yield _Part(layer, everything, self._hidden[layer][view], None, view, 0)
            else:
                part = self._object(layer, layer.motion.pose(time), left, top, view)
                if part.inside.size:
                    yield part

    def colours(self, part: _Part) -> Bytes:
        """The colours of the inside pixels of a part, uint8 [N, 3]."""
        layer = part.layer
        if layer not in self._surfaces:
            self._surfaces[layer] = (
                self.texture(layer.seed)
                if isinstance(layer, Occluder)
                else surface(RandomStream(layer.seed), layer.look.colour, layer.look.pattern, self._fine).reshape(-1, 3)
            )
        colours = self._surfaces[layer]
        return colours[part.view][part.inside] if part.source is None else colours[part.source[part.inside]]

    def _object(self, item: SceneObject, pose: Pose, left: int, top: int, view: tuple[slice, slice]) -> _Part:
        """The pixels of an object, in a picture that begins `left` and `top` pixels from the origin of the scene."""
        radius = _subpixels(item.radius * pose.scale // UNIT, self._height)
        x = _subpixels(pose.x, self._height) - SUBPIXELS * left
        y = _subpixels(pose.y, self._height) - SUBPIXELS * top
        columns, across = _pixels_within(x, radius, self._width)
        rows, down = _pixels_within(y, radius, self._height)
        scale = (self._fine << FRACTION) // radius
        c, s = scale * cosine(pose.angle) // UNIT, scale * sine(pose.angle) // UNIT
        side = 3 * self._fine
        u = ((across * c)[None, :] + (down * s)[:, None] >> FRACTION) + side // 2
        v = ((down * c)[:, None] - (across * s)[None, :] >> FRACTION) + side // 2
        source = v * side + u
        return _Part(item, (rows, columns), self._stencils[item.label][source], source, view, item.label)

    def _occlusion(self, occluder: Occluder) -> Mask:
        """The mask of an occluder, bool [H + 2 * margin, W + 2 * margin]."""
        lines, columns = self._area.lines - MARGIN, self._area.columns - MARGIN
        shape = (lines.size, columns.size)
        if occluder.kind == "foliage":
            patches = noise(RandomStream(occluder.seed, 1), self._area, 100)
            return patches > np.sort(patches, axis=None)[patches.size * (100 - FOLIAGE_PERCENT) // 100]
        along = columns[None, :] if occluder.kind == "post" else lines[:, None]
        return np.broadcast_to((along >= occluder.start) & (along < occluder.start + occluder.width), shape)


def _stencil_radius(height: int) -> int:
    """Radius in pixels of the stencils for pictures of this height, at least the radius of any object in them."""
    return 48 if height <= 192 else 128 if height <= 512 else 512


def _subpixels(length: int, height: int) -> int:
    return length * height * SUBPIXELS // UNIT


def _pixels_within(middle: int, radius: int, length: int) -> tuple[slice, NDArray[np.int32]]:
    """The pixels below `length` with centres within a radius of `middle`, and their distance from it, in subpixels."""
    half = SUBPIXELS // 2
    first = max(0, -((radius + half - middle) // SUBPIXELS))
    last = min(length - 1, (middle + radius - half) // SUBPIXELS)
    pixels = np.arange(first, max(first, last + 1), dtype=np.int32)
    return slice(first, first + pixels.size), pixels * SUBPIXELS + half - middle
