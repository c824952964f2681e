"""What masks that are drawn in a few frames give in all others, when `fusion-core view` carries them on.

    uv run --package fusion-core python tools/bench/corrections.py FRAMES MASKS [--propagator aot-propagate]

FRAMES is a folder of pictures or a video file; MASKS a folder with an indexed PNG for each frame, under its name: all
that is not 0 is the object. True masks stand for drawn ones: of the first frame, then of the last as well, then of the
middle, each carried through the video. Printed is J, the mean IoU over the frames that were never drawn.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import Library, open_runs
from fusion_core.view.propagation import Propagation
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, decode_mask, encode_mask, open_video
from mask_interchange.images import read_label_image


def empty_run(folder: Path, video_path: Path) -> None:
    """A run that has found nothing."""
    dataset = open_video(video_path, ["the object"])
    [video] = dataset.videos.values()
    manifest = RunManifest(producer="bench", producer_version="1", dataset=dataset.identity)
    masks = (np.zeros(video.size, bool) for _ in video.frame_names)
    tracks = (MaskTrack.from_masks(video.expressions[0], masks),)
    masks_of_video = VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tracks)
    MaskRun.create(folder / "empty", manifest).write(masks_of_video)


def mean_iou(corrected: CorrectedRun, truth: list[np.ndarray], drawn: set[int]) -> float:
    ious = []
    for i, true in enumerate(truth):
        if i not in drawn:
            mask = decode_mask(corrected.mask(0, 0, i), true.shape)
            either = (mask | true).sum()
            ious.append((mask & true).sum() / either if either else 1.0)
    return float(np.mean(ious))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--propagator", default="aot-propagate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        empty_run(runs, options.frames)
        library = Library(dataset=open_video(options.frames), runs=open_runs(runs), folder=runs)
        data = ("--video", str(options.frames.absolute()))
        with CorrectedRun(library) as corrected, Propagation(corrected, data) as propagation:
            names = library.open(0).frame_names
            truth = [read_label_image(options.masks / f"{name}.png")[0] > 0 for name in names]
            corrections, drawn = corrected.corrections(0), set()
            corrected.begin()
            for frame in (0, len(truth) - 1, len(truth) // 2):
                drawn.add(frame)
                corrections.draw(0, frame, encode_mask(truth[frame]), corrections.frame_revision(0, frame))
                began = time.monotonic()
                job = propagation.start(0, 0, 0, len(truth), options.propagator)
                while job.state == "running":
                    time.sleep(0.05)
                if job.state != "done":
                    raise SystemExit(job.text)
                seconds = time.monotonic() - began
                j = 100 * mean_iou(corrected, truth, drawn)
                print(f"drawn {sorted(drawn)!s:14} J {j:5.1f} over {len(truth) - len(drawn)} frames   {seconds:5.1f} s")


if __name__ == "__main__":
    main()
