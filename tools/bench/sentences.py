"""What it saves to ask all sentences about a video at once, and to draw only the masks that are kept.

    uv run --package soc python tools/bench/sentences.py soc
    uv run --package referformer python tools/bench/sentences.py referformer
    uv run --package mutr python tools/bench/sentences.py mutr
    uv run --package mutr python tools/bench/sentences.py mutr --config tiny --size 90x160 --rounds 1    # a smoke test

With s the share of a pass that does not depend on the sentence, n sentences cannot be asked together faster than
n / (s + n (1 - s)) times as fast as one by one. Everything is timed in turn in one process; peak memory is that of a
process of its own for each variant, and what a frame adds to it is seen by halving the clip.
"""

import argparse
import importlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from rvos_layers.inference.model_factory import ModelPredictor
from rvos_layers.inference.preprocess import make_clip, resized

SENTENCES = ["the brown dog", "a dog that turns round", "the person in red on the left", "a car driving away"]
PREDICTORS = {"soc": "SOCPredictor", "referformer": "ReferFormerPredictor", "mutr": "MUTRPredictor"}
VARIANTS = ("kept query", "every query and layer")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=PREDICTORS)
    parser.add_argument("--config", help="the published one by default")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", default="360x640", help="height x width of the frames")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> tuple[ModelPredictor, list[np.ndarray]]:
    """A predictor with random weights and a clip of noise; what is in it costs nothing more or less."""
    height, width = map(int, options.size.split("x"))
    predictors = importlib.import_module(f"{options.model}.predict")
    kind: type[ModelPredictor] = getattr(predictors, PREDICTORS[options.model])
    predictor = kind.load(seed=0, config=options.config, short_side=min(height, width))
    random = np.random.default_rng(0)
    return predictor, list(random.integers(0, 256, (options.frames, height, width, 3), dtype=np.uint8))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def draw_everything(predictor: ModelPredictor, frames: list[np.ndarray]) -> None:
    """Masks of all queries of all decoder layers, as a network does that must be trained on them."""
    model = predictor.model
    with torch.inference_mode():
        video = model.encode_video(make_clip(list(resized(frames, predictor.resize))).to(predictor.device))
        text = model.encode_text(predictor.tokenizer(SENTENCES).to(predictor.device))
        found = model.decode(video, text)
        layers = len(model.class_heads)
        everything = replace(
            found,
            states=torch.cat([found.states + layer for layer in range(layers)], dim=2),
            centres=found.centres.repeat(1, 1, layers, 1),
        )
        model.predict_masks(video, text, everything)


def peak(options: argparse.Namespace, variant: str, frames: int) -> tuple[float, float]:
    """Seconds and gigabytes of a process that does nothing but this variant, once."""
    command = [sys.executable, __file__, options.model, "--measure", variant, "--size", options.size]
    command += ["--frames", str(frames)] + (["--config", options.config] if options.config else [])
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    took, size = map(float, output.split()[-2:])
    return took, size


def measure(options: argparse.Namespace) -> None:
    predictor, frames = prepare(options)
    work = {
        "kept query": lambda: predictor.segment(frames, SENTENCES),
        "every query and layer": lambda: draw_everything(predictor, frames),
    }[options.measure]
    took = seconds(work)
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def main() -> None:
    options = arguments()
    if options.measure:
        measure(options)
        return
    predictor, frames = prepare(options)
    predictor.segment(frames[:2], SENTENCES[:1])  # warm up

    def encode_video() -> None:
        with torch.inference_mode():
            predictor.model.encode_video(make_clip(list(resized(frames, predictor.resize))).to(predictor.device))

    rounds = [
        (
            seconds(encode_video),
            seconds(lambda: predictor.segment(frames, SENTENCES)),
            seconds(lambda: [predictor.segment(frames, [sentence]) for sentence in SENTENCES]),
        )
        for _ in range(options.rounds)
    ]
    video, together, one_by_one = (statistics.median(column) for column in zip(*rounds, strict=True))
    count = len(SENTENCES)
    share = video / (one_by_one / count)
    bound = count / (share + count * (1 - share))
    ratio = one_by_one / together
    threads = torch.get_num_threads()
    config = options.config or next(iter(predictor.factory.configs))
    print(f"{options.model} {config}: {count} sentences, {options.frames} frames of {options.size}, {threads} threads")
    print(f"  one by one                {one_by_one:8.2f} s")
    print(f"  together                  {together:8.2f} s")
    print(f"  text-independent part     {video:8.2f} s   share s = {share:.3f} of one pass")
    print(f"  ratio                     {ratio:8.2f}     bound {bound:.2f}, reached {100 * ratio / bound:.0f} %")
    print("masks drawn                 seconds  peak memory  more for each frame")
    half = max(1, options.frames // 2)
    for variant in VARIANTS:
        took, size = peak(options, variant, options.frames)
        _, of_half = peak(options, variant, half)
        a_frame = (size - of_half) / max(1, options.frames - half) * 1e3
        print(f"  {variant:24}  {took:7.2f}  {size:8.2f} GB  {a_frame:16.0f} MB")


if __name__ == "__main__":
    main()
