"""Real videos, on which the demo weights were not trained: what a propagator makes of the true mask of the first frame.

<folder>/JPEGImages/<video>/<frame>.jpg, <folder>/Annotations/<video>/<frame>.png       0 is the background
"""

from importlib.metadata import version
from pathlib import Path

from mask_interchange import MaskRun, RunManifest, open_video
from mask_interchange.images import read_label_image
from program_kit.video_propagator import VideoPropagator
from rvos_evaluation.annotations import open_annotations
from rvos_evaluation.evaluation import Evaluation, evaluate_run
from rvos_evaluation.protocols import Protocol


def propagate_first_masks(propagator: VideoPropagator, name: str, folder: Path, out: Path) -> MaskRun:
    """A run with the true masks of every video's first frame, carried to its end. Finished videos stay.

    Args:
        propagator: with its weights.
        name: of these, for the run's manifest.
        folder: of frames and annotations, see above.
        out: the run.
    """
    manifest = RunManifest(
        producer="demo-weights",
        producer_version=version("demo-weights"),
        settings={"propagator": name, "masks": "ground truth of the first frame"},
        dataset={"name": folder.name, "split": None, "fingerprint": None},
    )
    run = MaskRun.create(out, manifest)
    with run.writing():
        for video in run.missing(sorted(one.name for one in (folder / "JPEGImages").iterdir())):
            frames = open_video(folder / "JPEGImages" / video).videos[video]
            labels, _ = read_label_image(folder / "Annotations" / video / f"{frames.frame_names[0]}.png")
            run.write(propagator.propagate_labels(frames, labels))
    return run


def score_real_frames(run: MaskRun, folder: Path) -> Evaluation:
    """J and F by the rules of DAVIS: all frames but the first, which was given, and the last."""
    return evaluate_run(run, open_annotations(folder / "Annotations"), Protocol.DAVIS)
