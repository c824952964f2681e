"""Objects cut out of single frames, with what is known of them and of expressions about them, to train encoders on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from rvos_layers.inference.preprocess import normalise, resize_frame
from rvos_synthetic import ReferringExpression, SceneObject
from rvos_synthetic.grammar import WORDS
from rvos_training.data.batches import BatchIndices, Tokenize, epoch_batches
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.frame_store import FrameStore
from rvos_training.data.transforms import FLIP_PROBABILITY, resize_labels, swap_sides
from torch import Tensor

from demo_weights.scene_facts import mirrored_claims, plan_of
from demo_weights.stages import SIZE

CUT = (36, 40)  # height and width in pixels of the frame; the largest object has a radius of 18
JITTER = 4  # pixels by which an object may be off the middle of its cut
SMALLEST = 20  # pixels of an object that is cut out
LOOKS = ("size", "colour", "pattern", "shape")  # attributes that a single frame shows
UNKNOWN = -100  # class that losses leave out


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneBatch:
    """O objects of some frames, and E expressions, each about one of them.

    Attributes:
        cuts: float32[O, 1, 3, h, w], normalised; a clip of one frame around each object.
        masks: uint8[O, h, w], 1 on the object.
        centres: float32[O, 2], (x, y) in fractions of the frame.
        looks: int64[O, 4], the value of each of LOOKS, UNKNOWN where it is neither.
        scenes: int64[O], the frame of each object.
        tokens: of the expressions.
        claims: int64[E, 7], for each attribute of WORDS 0 where the expression says nothing, else its value from 1 on.
        about: int64[E], the frame of each expression.
        meant: int64[E], its object.
        names: of the frames, for messages.
    """

    cuts: Tensor
    masks: Tensor
    centres: Tensor
    looks: Tensor
    scenes: Tensor
    tokens: Any
    claims: Tensor
    about: Tensor
    meant: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        moved = {name: getattr(self, name).to(device) for name in self.__slots__ if name != "names"}
        return replace(self, **moved)


class Scenes:
    """Random frames of synthetic videos as a `BatchSource`.

    Args:
        videos: to sample frames from.
        tokenizer: of the expressions.
        samples: frames of an epoch.
        expressions: largest number of expressions about a frame.
        short_side: of the frames that cuts are made of, in pixels.
        seed: fixes all that is random.
    """

    def __init__(
        self,
        videos: AnnotatedVideos,
        tokenizer: Tokenize,
        *,
        samples: int,
        expressions: int,
        short_side: int,
        seed: int,
    ) -> None:
        self.store = FrameStore(videos)
        self.videos = list(videos.dataset.videos.values())
        self.tokenizer = tokenizer
        self.samples = samples
        self.expressions = expressions
        height, width = CUT
        self.size = height * short_side // SIZE[0], width * short_side // SIZE[0]
        self.seed = seed

    def batches(self, epoch: int, batch_size: int, process: int = 0, processes: int = 1) -> list[BatchIndices]:
        """The batches of one process in one epoch; see `epoch_batches`."""
        return epoch_batches(self.samples, self.seed, epoch, batch_size, process, processes)

    def __getitem__(self, batch: BatchIndices) -> SceneBatch:
        scenes = [self.scene(np.random.default_rng((self.seed, batch.epoch, index))) for index in batch.indices]
        firsts = np.cumsum([0, *(len(scene.objects) for scene in scenes)])
        objects = [one for scene in scenes for one in scene.objects]
        return SceneBatch(
            cuts=normalise(torch.from_numpy(np.stack([one.cut for one in objects])))[:, None],
            masks=resize_labels(torch.from_numpy(np.stack([one.mask for one in objects])), self.size),
            centres=torch.tensor([one.centre for one in objects], dtype=torch.float32),
            looks=torch.tensor([one.looks for one in objects]),
            scenes=torch.tensor([number for number, scene in enumerate(scenes) for _ in scene.objects]),
            tokens=self.tokenizer([text for scene in scenes for text in scene.texts]),
            claims=torch.tensor([claims for scene in scenes for claims in scene.claims]),
            about=torch.tensor([number for number, scene in enumerate(scenes) for _ in scene.texts]),
            meant=torch.tensor(
                [first + place for first, scene in zip(firsts, scenes, strict=False) for place in scene.meant]
            ),
            names=tuple(scene.name for scene in scenes),
        )

    def scene(self, random: np.random.Generator) -> "CutScene":
        """A frame that shows an object with an expression; `random` alone decides which."""
        while True:
            video = self.videos[random.integers(len(self.videos))]
            frame = int(random.integers(len(video)))
            image, labels = self.store.read(video, frame)
            plan, expressions = plan_of(video.id)
            flip = random.random() < FLIP_PROBABILITY
            if flip:
                image, labels = image[:, ::-1], labels[:, ::-1]
            shown = [one for one in plan.objects if np.count_nonzero(labels == one.label) >= SMALLEST]
            about = [one for one in expressions if one.label in {item.label for item in shown}]
            if about:
                break
        chosen = [about[k] for k in random.permutation(len(about))[: self.expressions]]
        places = {item.label: place for place, item in enumerate(shown)}
        return CutScene(
            name=f"video {video.id}, frame {frame}",
            objects=[cut_out(item, image, labels, self.size, random) for item in shown],
            texts=[swap_sides(one.text) if flip else one.text for one in chosen],
            claims=[claim_classes(one, flip) for one in chosen],
            meant=[places[one.label] for one in chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CutObject:
    """An object of a frame, as `SceneBatch` has it; the mask is not enlarged yet."""

    cut: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    centre: tuple[float, float]
    looks: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutScene:
    """A frame's objects, and expressions about them; `meant` counts from the frame's first object."""

    name: str
    objects: Sequence[CutObject]
    texts: Sequence[str]
    claims: Sequence[Sequence[int]]
    meant: Sequence[int]


def cut_out(
    item: SceneObject,
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    size: tuple[int, int],
    random: np.random.Generator,
) -> CutObject:
    """An object and its surroundings, enlarged to `size`, whole inside the frame."""
    mask = labels == item.label
    middle = np.argwhere(mask).mean(0)
    first = (middle - np.array(CUT) / 2 + random.integers(-JITTER, JITTER + 1, 2)).round().astype(int)
    top, left = np.clip(first, 0, np.array(mask.shape) - CUT)
    window = slice(top, top + CUT[0]), slice(left, left + CUT[1])
    facts = {"size": None if item.look.resizing else item.look.size}
    values = [facts.get(name, getattr(item.look, name)) for name in LOOKS]
    return CutObject(
        cut=resize_frame(np.ascontiguousarray(image[window]), size),
        mask=mask[window].astype(np.uint8),
        centre=(float(middle[1]) / mask.shape[1], float(middle[0]) / mask.shape[0]),
        looks=[
            UNKNOWN if value is None else list(WORDS[name]).index(value)
            for name, value in zip(LOOKS, values, strict=True)
        ],
    )


def claim_classes(expression: ReferringExpression, flip: bool) -> list[int]:
    """For each attribute of WORDS the class of what an expression says of it, as in `SceneBatch.claims`."""
    claims = mirrored_claims(expression.claims) if flip else expression.claims
    return [list(values).index(claims[name]) + 1 if name in claims else 0 for name, values in WORDS.items()]
