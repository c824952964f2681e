"""SAM 2.1: many masks of one clip together against each on its own, and against plain calls of the library.

    uv run --package grounded-sam2 python tools/bench/sam2_sharing.py [--config sam2.1-tiny] [--frames 20] [--alone 4]

4 mask runs x 4 expressions on one drawn clip, published shapes, random weights; the baseline and the bound are those of
`sharing.py`. The plain calls are those of the library's documentation: the whole video in a session, a session for each
mask and direction. Every object is taken to be there, as random weights would often say that it is not.
"""

import argparse
from dataclasses import replace

import torch
from grounded_sam2 import tracking
from grounded_sam2.checkpoint import SAM2_CHECKPOINTS
from grounded_sam2.config import SAM2
from grounded_sam2.propagate import Propagator
from grounded_sam2.tracking import build_processor
from sharing import DrawnClip, TimedCache, compare, masks
from transformers import Sam2VideoModel


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=SAM2, default="sam2.1-tiny")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", default="480x854", help="height x width")
    parser.add_argument("--image-size", type=int, help="side of the square that the network sees; 1024 as published")
    parser.add_argument("--same-key-frame", action="store_true", help="all masks on the middle frame")
    parser.add_argument("--alone", type=int, default=16, help="masks that are also run alone, and by plain calls")
    parser.add_argument("--no-plain", action="store_true", help="without the library's plain calls")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    tracking.FeatureCache = TimedCache
    shape = SAM2[options.config]
    config = SAM2_CHECKPOINTS.build_config(replace(shape, image_size=options.image_size or shape.image_size))
    torch.manual_seed(0)
    network = Sam2VideoModel(config).eval().requires_grad_(False).to(options.device)
    propagator, processor = Propagator(network), build_processor(network)
    with torch.no_grad():
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20.0)

    def plain(clip, job):
        frames = [clip.read_frame(i) for i in range(len(clip))]
        for reverse in (False, True):
            session = processor.init_video_session(video=frames, inference_device=options.device, dtype=torch.float32)
            processor.process_new_mask_for_video_frame(session, job.key_frame, [1], [job.labels > 0])
            network(session, frame_idx=job.key_frame)
            found = network.propagate_in_video_iterator(session, start_frame_idx=job.key_frame, reverse=reverse)
            for result in found:
                processor.post_process_masks([result.pred_masks], [clip.size], binarize=True)

    height, width = map(int, options.size.split("x"))
    clip = DrawnClip(options.frames, (height, width))
    compare(
        lambda clip, jobs, _: propagator.propagate(clip, jobs),
        clip,
        masks(clip, options.same_key_frame),
        [1],
        alone=options.alone,
        plain=None if options.no_plain else plain,
    )


if __name__ == "__main__":
    main()
