"""The wrapper: `colours-infer` has the command line and the worker protocol of all programs."""

from mask_interchange import MaskTrack, Video, VideoMasks, soft_from_probabilities
from program_kit.errors import ProgramKitError
from program_kit.progress import ProgressCallback
from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app

from colours import their_network


class Colours:
    """Their network. A constructor loads the model, on `request.device`; this one has nothing to load."""

    def __init__(self, request: ModelRequest) -> None:
        self.soft_masks = request.soft_masks

    def predict(self, video: Video, progress: ProgressCallback) -> VideoMasks:
        """Masks of all expressions of the video in all its frames."""
        tracks = []
        for done, expression in enumerate(video.expressions):
            progress(done, len(video.expressions))
            maps = [their_network.segment(frame, expression.text) for frame in video.frames()]
            masks = [probabilities > 0.5 for probabilities in maps]
            scores = [float(probabilities.max()) for probabilities in maps]  # the best frame is the one to propagate
            soft = soft_from_probabilities(maps, self.soft_masks) if self.soft_masks else None
            tracks.append(MaskTrack.from_masks(expression, masks, scores=scores, soft=soft))
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))


app = segmenter_app(
    SegmenterProgram(
        name="colours-infer",
        version="0.1.0",
        about="Find what has a colour of the expression.",
        configs=("rgb",),
        own_weights=True,  # no --checkpoint is needed
        tokenizer=None,
        error=ProgramKitError,  # errors of this kind are shown without a traceback
        load=Colours,
    )
)
