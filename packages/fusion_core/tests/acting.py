"""A program that keeps the contract and no more: draws masks from names, and can be told to misbehave.

    python acting.py --dataset ROOT --out RUN [--masks RUN --out RUN ...] --videos -

Masks follow from the video's frames and the seed, or from the source masks, so that equal inputs give equal bytes.
Every start, and every video that is computed, is noted in the file `--log`.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mask_interchange import MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset, open_video
from program_kit.prompts import Prompt
from program_kit.propagation import propagate_prompts, propagate_tracks


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--expression", action="append", default=[])
    parser.add_argument("--masks", type=Path, action="append", default=[])
    parser.add_argument("--every-mask", action="store_true")
    parser.add_argument("--out", type=Path, action="append", required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--support", action="store_true", help="also store support masks: everywhere")
    # misbehaviour, as VIDEO or VIDEO,VIDEO
    parser.add_argument("--fail", default="")
    parser.add_argument("--crash", default="")
    parser.add_argument("--crash-once", default="")
    parser.add_argument("--babble", default="")
    parser.add_argument("--line", default="hello", help="what --babble says")
    parser.add_argument("--lie", default="")
    parser.add_argument("--disk-full", default="")
    parser.add_argument("--hang-once", default="", help="say that it is alive for ever, and compute nothing")
    parser.add_argument("--stop-once", default="", help="stop as by SIGSTOP")
    parser.add_argument("--refuse", action="store_true")
    return parser.parse_args()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Rolled:
    job: int
    frame: int
    reference: int
    labels: np.ndarray

    def mask(self, object_id=None):
        return self.labels > 0

    def presence(self, object_id=None):
        return None


class Roller:
    """Moves masks by one column a frame. A prompt's mask is its box, or a square around its first point."""

    def propagate(self, video, jobs):
        for index, job in enumerate(jobs):
            for frame in {*range(len(video))} - {*job.references}:
                before = [i for i in job.references if i < frame][-1:]
                behind = [i for i in job.references if i > frame][:1]
                for reference in before + behind:
                    moved = np.roll(job.references[reference], frame - reference, axis=1)
                    yield Rolled(index, frame, reference, moved)

    def prompted_masks(self, video, prompts):
        masks = np.zeros((len(prompts), *video.size), bool)
        for mask, prompt in zip(masks, prompts, strict=True):
            x, y = prompt.points[0] if prompt.points else (0, 0)
            left, top, right, bottom = map(int, prompt.box or (x - 5, y - 5, x + 5, y + 5))
            mask[top:bottom, left:right] = True
            for (x, _), label in zip(prompt.points, prompt.labels, strict=True):
                if not label:
                    mask[:, int(x) :] = False
        return masks


class Program:
    def __init__(self, options):
        self.options = options
        if options.video:
            expressions = options.expression
            if options.masks:
                source = MaskRun.open(options.masks[0])
                expressions = [t.expression.text for video in source.videos()[:1] for t in source.read(video).tracks]
            self.data = open_video(options.video, expressions)
        else:
            self.data = open_dataset(options.dataset, options.split)
        sources = [MaskRun.open(path) for path in options.masks] or [None]
        self.jobs = [(source, self.create(out, source)) for out, source in zip(options.out, sources, strict=True)]

    def create(self, out, source):
        settings = {"seed": self.options.seed}
        if self.options.weights:
            settings["weights"] = self.options.weights
        if source:
            settings["source"] = {"run": source.name, "manifest": source.manifest.to_json()}
        manifest = RunManifest(
            producer="acting",
            producer_version="1",
            checkpoint_sha256=sha256(self.options.checkpoint) if self.options.checkpoint else None,
            settings=settings,
            dataset=self.data.identity,
        )
        return MaskRun.create(out, manifest)

    def process(self, name, details):
        video = self.data.videos[name]
        for source, run in self.jobs:
            if details or not run.has(name):
                with run.writing(shared=True):
                    masks = self.propagated(video, source, details) if source else self.predicted(video)
                    time.sleep(float(os.environ.get("ACTING_HOLD", "0")))  # not an option: those are settings
                    run.write(masks)

    def predicted(self, video):
        weights = sha256(self.options.checkpoint) if self.options.checkpoint else self.options.weights
        tracks = []
        for expression in video.expressions:
            seed = f"{self.options.seed} {weights} {video.fingerprint()} {expression.id}"
            rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
            rows, columns = (np.arange(side) * 8 // side for side in video.size)
            masks = (rng.random((len(video), 8, 8)) < 0.5)[:, rows][:, :, columns]
            scores = rng.random(len(video)).astype(np.float32)
            support = np.ones_like(masks) if self.options.support else None
            tracks.append(MaskTrack.from_masks(expression, masks, scores=scores, support=support))
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))

    def propagated(self, video, source, details):
        frames = slice(*(int(end) for end in details.get("frames", f"0:{len(video)}").split(":")))
        if "prompts" in details:
            prompts = {name: Prompt(**prompt) for name, prompt in details["prompts"].items()}
            return propagate_prompts(Roller(), video, prompts, frames=frames)
        every = self.options.every_mask
        (found,) = propagate_tracks(Roller(), video, [source.read(video.id)], frames=frames, every_mask=every)
        return found


def first_time(options, video):
    mark = options.out[0] / f"misbehaved-{video}"
    seen = mark.exists()
    mark.touch()
    return not seen


def main():
    options = arguments()
    if options.refuse:
        print("acting: error: refused, as asked", file=sys.stderr)
        sys.exit(2)
    program = Program(options)

    def tell(event, video, **more):
        print(json.dumps({"event": event, "video": video, **more}), flush=True)

    def log(what):
        if options.log:
            with open(options.log, "a") as file:
                file.write(f"{what}\n")

    log(f"started {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} {os.environ.get('RAY_RAYLET_PID', '-')}")
    outs = "+".join(path.name for path in options.out)
    for line in iter(sys.stdin.readline, ""):
        video, details = line.rstrip("\n"), {}
        if video.startswith("{"):
            details = json.loads(video)
            video = details.pop("video")
        tell("started", video)
        if video in options.crash_once.split(",") and first_time(options, video):
            os.kill(os.getpid(), signal.SIGKILL)
        if video in options.stop_once.split(",") and first_time(options, video):
            os.kill(os.getpid(), signal.SIGSTOP)
        if video in options.hang_once.split(",") and first_time(options, video):
            while True:
                tell("alive", video, processor_seconds=0.5)
                time.sleep(0.2)
        if video in options.crash.split(","):
            print("something terrible", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if video in options.babble.split(","):
            print(options.line, flush=True)
        if video in options.fail.split(","):
            tell("failed", video, error=f"video {video}: cannot, as asked")
            continue
        if video in options.disk_full.split(","):
            tell("failed", video, error="the disk is full: make room")
            sys.exit(1)
        tell("progress", video, done=1, total=2)
        time.sleep(options.pause)
        if video not in options.lie.split(","):
            log(f"{outs} {video}")
            program.process(video, details)
        tell("done", video)


if __name__ == "__main__":
    main()
