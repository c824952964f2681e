"""J and F of the network in training on annotated videos, by the rules of `fusion-core evaluate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from mask_interchange import MaskRun, RunManifest, Video, VideoMasks
from program_kit.distributions import version_of
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Means, evaluate_run

from rvos_training.data.data_parts import AnnotatedVideos


class Predictor(Protocol):
    """Predicts the masks of a video."""

    def predict(self, video: Video) -> VideoMasks:
        """Tracks of all expressions of the video, over all its frames."""
        ...


Validate = Callable[[int, Accelerator], Means]


class Validation:
    """Segments the validation videos and scores the masks.

    Args:
        videos: to score on.
        predictor: uses the network in training, which must be in evaluation mode when this is called.
        folder: for a mask run of each validation, `step-<number>`.
    """

    def __init__(self, videos: AnnotatedVideos, predictor: Predictor, folder: Path) -> None:
        self.videos = videos
        self.predictor = predictor
        self.folder = folder

    def __call__(self, step: int, accelerator: Accelerator) -> Means:
        """Mean J and F after a step; every process segments a share of the videos.

        Raises:
            DatasetError: a video cannot be read.
            EvaluationError: masks and annotations do not match.
        """
        dataset = self.videos.dataset
        with accelerator.main_process_first():
            run = MaskRun.create(self.folder / f"step-{step:07d}", self._manifest(step))
        share = list(dataset.videos)[accelerator.process_index :: accelerator.num_processes]
        with run.writing(shared=True):
            for name in run.missing(share):
                run.write(self.predictor.predict(dataset.videos[name]))
        accelerator.wait_for_everyone()
        scores: list[Any] = [None]
        if accelerator.is_main_process:
            scores = [evaluate_run(run, open_annotations(self.videos.annotations), dataset=dataset).overall]
        return broadcast_object_list(scores)[0]

    def _manifest(self, step: int) -> RunManifest:
        return RunManifest(
            producer="rvos-training",
            producer_version=version_of("rvos-training"),
            checkpoint_sha256=None,
            settings={"step": step},
            dataset=self.videos.dataset.identity,
        )
