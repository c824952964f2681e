"""A segmentation program as small as can be, run by the tests in-process and as a process of its own.

It finds whatever is brighter than the word count of the sentence times twenty. The sentence "crash" ends it by a bug,
the sentence "refuse" by an error of its own, and "wait" makes it report and then wait to be interrupted.
"""

import time
from pathlib import Path

from program_kit.progress import ProgressCallback
from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app


class ExampleError(Exception):
    """What the user can mend."""


class Predictor:
    def __init__(self, request: ModelRequest):
        self.request = request
        print("a library's chatter on standard output")

    def predict(self, video, progress: ProgressCallback):
        from mask_interchange import MaskTrack, VideoMasks

        tracks = []
        for expression in video.expressions:
            if expression.text == "crash":
                raise RuntimeError("a bug")
            if expression.text == "refuse":
                raise ExampleError("cannot do that")
            masks, scores = [], []
            for i, frame in enumerate(video.frames()):
                masks.append(frame.mean(axis=2) > 20 * len(expression.text.split()))
                scores.append(masks[-1].mean())
                progress(i + 1, len(video))
                if expression.text == "wait":
                    time.sleep(60)
            tracks.append(MaskTrack.from_masks(expression, masks, scores=scores))
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))


def load(request: ModelRequest) -> Predictor:
    checkpoint = request.weights.checkpoint
    if checkpoint and checkpoint.read_bytes() != b"good weights":
        raise ExampleError(f"{checkpoint}: not weights of this model")
    return Predictor(request)


def convert(source: Path, target: Path, config: str) -> None:
    if source.read_bytes() != b"good weights":
        raise ExampleError(f"{source}: not weights of this model")
    target.write_text(f"converted for {config}")


PROGRAM = SegmenterProgram(
    name="example-infer",
    version="1.2.3",
    about="Find bright things.",
    configs=("base", "tiny"),
    tokenizer="some/tokenizer",
    error=ExampleError,
    load=load,
    convert=convert,
)

app = segmenter_app(PROGRAM)

if __name__ == "__main__":
    app()
