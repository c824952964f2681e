"""A propagator as small as can be: what is marked moves to the right by some pixels a frame.

It gives the frames before the key frame first and goes through its jobs in reverse, as a real one may.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from program_kit.propagator_app import PropagatorProgram, PropagatorRequest, propagator_app


class ExampleError(Exception):
    """What the user can mend."""


@dataclass(frozen=True, kw_only=True)
class Options:
    step: Annotated[int, typer.Option(min=0, help="Pixels a frame.")] = 2
    edge: Annotated[Literal["lost", "round"], typer.Option(help="What happens at the right edge.")] = "lost"
    sure: Annotated[bool, typer.Option("--sure", help="Have no doubts.")] = False


@dataclass(frozen=True)
class Moved:
    job: int
    frame: int
    reference: int
    labels: Any
    certainty: float

    def mask(self, object_id=None):
        return self.labels > 0 if object_id is None else self.labels == object_id

    def probability(self, object_id=None):
        return self.mask(object_id).astype("float32") * self.certainty

    def presence(self, object_id=None):
        return 1 / (2 + self.frame) if self.certainty == 1 else None


class Mover:
    def __init__(self, options: Options):
        self.options = options
        self.calls = []
        print("a library's chatter on standard output")

    def prompted_masks(self, video, prompts):
        """What is in the box."""
        masks = np.zeros((len(prompts), *video.size), bool)
        for mask, prompt in zip(masks, prompts, strict=True):
            left, top, right, bottom = map(int, prompt.box)
            mask[top:bottom, left:right] = True
        return masks

    def propagate(self, video, jobs: Sequence) -> Iterator[Moved]:
        self.calls.append(jobs)
        for index, job in reversed(list(enumerate(jobs))):
            for frame in [frame for frame in range(len(video)) if frame not in job.references]:
                before = [reference for reference in job.references if reference < frame]
                behind = [reference for reference in job.references if reference > frame]
                for reference in before[-1:] + behind[:1]:
                    yield self.moved(index, frame, reference, job.references[reference])

    def moved(self, index, frame, reference, labels) -> Moved:
        pixels = self.options.step * (frame - reference)
        labels = np.roll(labels, pixels, axis=1)
        if self.options.edge == "lost":
            labels[:, : max(0, pixels)] = 0
            labels[:, labels.shape[1] + min(0, pixels) :] = 0
        return Moved(index, frame, reference, labels, 1.0 if self.options.sure else 0.8)


def load(request: PropagatorRequest[Options]) -> Mover:
    checkpoint = request.weights.checkpoint
    if checkpoint and checkpoint.read_bytes() != b"good weights":
        raise ExampleError(f"{checkpoint}: not weights of this model")
    return Mover(request.options)


def convert(source: Path, target: Path, config: str) -> None:
    target.write_text(f"converted for {config}")


PROGRAM = PropagatorProgram(
    name="example-propagate",
    version="1.2.3",
    about="Move things to the right.",
    configs=("base", "tiny"),
    error=ExampleError,
    options=Options,
    settings=lambda request: {"step": request.options.step, "edge": request.options.edge},
    load=load,
    convert=convert,
    max_objects=lambda config: {"base": 10, "tiny": 2}[config],
)

app = propagator_app(PROGRAM)

if __name__ == "__main__":
    app()
