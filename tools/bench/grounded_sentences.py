"""Grounding DINO and SAM 2.1: four sentences about one clip in one pass against a pass for each.

    uv run --package grounded-sam2 python tools/bench/grounded_sentences.py [--frames 2] [--rounds 3]

Published shapes, random weights, a drawn clip. With s the share of a pass that does not depend on the sentence (both
image encoders), n sentences together cannot be faster than n / (s + n (1 - s)) times as fast as one by one. Every
object is taken to be there, as random weights would often say that it is not.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from grounded_sam2 import GroundedSAM2Predictor, grounding, tracking
from grounded_sam2.config import GROUNDED
from mask_interchange import open_video
from PIL import Image
from sharing import DrawnClip, Stopwatch, TimedCache

SENTENCES = ["the brown dog", "a dog that turns round", "the person in red on the left", "a car driving away"]


class TimedBackbone(grounding._SharedBackbone):
    """Notes the time that goes into the detector's image encoder."""

    def __enter__(self):
        with TimedCache.watch.running():
            super().__enter__()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=GROUNDED, default=next(iter(GROUNDED)))
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--size", default="480x854", help="height x width")
    parser.add_argument("--short-side", type=int, default=800, help="of the frames that the detector sees")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    predictor = GroundedSAM2Predictor.load(seed=0, config=options.config, device="cpu")
    with torch.no_grad():
        predictor.segmenter.network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20.0)
    detector, side = predictor.detector, options.short_side
    predictor.detector = grounding.Detector(
        detector.network, detector._encode, short_side=side, long_side=side * 1333 // 800
    )
    grounding._SharedBackbone, tracking.FeatureCache = TimedBackbone, TimedCache
    frames, alone, together = Stopwatch(), Stopwatch(), Stopwatch()
    with tempfile.TemporaryDirectory() as name:
        for i, frame in enumerate(DrawnClip(options.frames, (height, width)).frames()):
            Image.fromarray(frame).save(Path(name) / f"{i:05d}.png")

        def predict(sentences, watch):
            (video,) = open_video(name, sentences).videos.values()
            with watch.running():
                return predictor.predict(video)

        predict(SENTENCES[:1], Stopwatch())  # warm-up
        for _ in range(options.rounds):
            TimedCache.watch = Stopwatch()
            whole = predict(SENTENCES, together)
            TimedCache.watch = frames
            for sentence, track in zip(SENTENCES, whole.tracks, strict=True):
                (one,) = predict([sentence], alone).tracks
                assert (one.stack() == track.stack()).mean() > 0.99
                assert one.stack().any()
    different = len({(track.key_frame, track.masks[track.key_frame]) for track in whole.tracks})
    assert different == len(SENTENCES), (
        f"only {different} masks differ: the others are carried once for several sentences"
    )
    count = len(SENTENCES)
    print(f"{options.config}: {count} sentences, {options.frames} frames of {options.size}, {options.rounds} rounds")
    print(f"{'':28s}{'clock s':>9s}{'processor s':>13s}")
    for title, watch in (("one by one", alone), ("together", together), ("needs no sentence, one by one", frames)):
        print(f"{title:28s}{watch.clock / options.rounds:9.1f}{watch.processor / options.rounds:13.1f}")
    for kind in ("clock", "processor"):
        share = getattr(frames, kind) / getattr(alone, kind)
        bound = count / (share + count * (1 - share))
        ratio = getattr(alone, kind) / getattr(together, kind)
        print(f"{kind:9s} share {share:.3f}, bound {bound:.2f}, ratio {ratio:.2f}: {ratio / bound:.0%} of the bound")


if __name__ == "__main__":
    main()
