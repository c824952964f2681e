"""Parity with the published code, stage by stage; every case found is run by its kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cutie.competition import compete
from cutie.object_memory import ObjectSummary
from cutie.preprocess import NetworkView
from cutie.propagate import Propagator
from golden_cases import NETWORK, GoldenCase, StageReport, assert_half_close, find_cases, rounding
from program_kit.propagator import Job
from program_kit.torch.precision import HALF, set_precision

from .published import load, settings

CASES = find_cases("cutie", local=Path(__file__).parent / "goldens")
AGREEMENT = 0.999  # of the pixels: where two objects are almost as likely, rounding decides
HIGHEST = np.log(1e7)  # competing logits end there


def near(frames):
    """How far probabilities may be apart after so many frames, each of which builds on the one before."""
    return rounding(HIGHEST, NETWORK * frames) / 4  # a sigmoid is a quarter as uncertain as its logit


def test_every_case_has_a_known_kind():
    assert {case.kind for case in CASES} == {"network", "propagation"}


def of_kind(kind):
    return pytest.mark.parametrize("case", [case for case in CASES if case.kind == kind], ids=str)


def thinned(actual, expected):
    """`actual` reduced to the places that the golden array kept, read off the two shapes."""
    steps = [-(-a // e) for a, e in zip(actual.shape, expected.shape, strict=True)]
    return np.asarray(actual)[tuple(slice(None, None, step) for step in steps)]


@of_kind("network")
@torch.no_grad()
def test_network(case: GoldenCase):
    network, arrays = load(case), case.arrays
    labels = torch.from_numpy(arrays["in.labels"])
    view = NetworkView(tuple(labels.shape), 480)
    images = [view.image(frame, labels.device) for frame in arrays["in.frames"]]
    first, second = (network.encode(image) for image in images)
    masks = torch.stack([labels == i for i in (1, 2, 3)]).float()
    report = StageReport(str(case))

    def compare(stage, found):
        expected = arrays[f"mid.{stage}"]
        report.add(stage, thinned(found, expected), expected)

    maps = network.encoder(images[1])
    for stage in ("s4", "s8", "s16"):
        compare(stage, getattr(maps, stage)[0])
    compare("pixels", second.pixels[0])
    for stage, tokens in second.keys._asdict().items():
        compare(stage, tokens.mT.unflatten(1, second.size))
    memorized = network.memorize(first, masks, network.empty_sensory(first, 3), [3])
    compare("values", memorized.values)
    compare("deep_sensory", memorized.sensory)
    compare("summary", torch.cat([memorized.summary.values, memorized.summary.area], dim=-1))
    fused = network.fuse(second, memorized.values, masks, memorized.sensory, [3])
    compare("fused", fused)
    objects = network.object_transformer(fused, memorized.summary.mean, [3])
    compare("objects", objects)
    logits, sensory = network.decoder(objects, second.skips, memorized.sensory)
    compare("sensory", sensory)
    (competing,) = compete(logits.sigmoid(), [3])
    enlarged = torch.nn.functional.interpolate(competing[None], scale_factor=4, mode="bilinear")[0]
    compare("competing", enlarged)
    summary = ObjectSummary(*memorized.summary)
    found = network.segment(second, memorized.values, masks, memorized.sensory, summary, [3])
    report.add("probabilities", found.probabilities[0], arrays["out.probabilities"], tolerance=near(1))
    report.check()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@of_kind("network")
@torch.no_grad()
def test_half_precision(case: GoldenCase, precision):
    """Up to the object transformer, and again behind it: within, thresholds decide which pixels a query may read."""
    network, arrays = load(case), case.arrays
    set_precision(network, precision)
    labels = torch.from_numpy(arrays["in.labels"])
    view = NetworkView(tuple(labels.shape), 480)
    first, second = (network.encode(view.image(frame, labels.device)) for frame in arrays["in.frames"])
    masks = torch.stack([labels == i for i in (1, 2, 3)]).float()
    memorized = network.memorize(first, masks, network.empty_sensory(first, 3), [3])
    values = memorized.values.float()  # a memory holds them so
    fused = network.fuse(second, values, masks, memorized.sensory, [3])
    objects = torch.from_numpy(arrays["mid.objects"]).to(fused.dtype)
    logits, sensory = network.decoder(objects, second.skips, memorized.sensory)
    for kept in (memorized.sensory, *memorized.summary, logits, sensory):
        assert kept.dtype == torch.float32
    epsilon = torch.finfo(HALF[precision]).eps
    assert_half_close(memorized.sensory, arrays["mid.deep_sensory"], epsilon)
    assert_half_close(fused.float(), arrays["mid.fused"], epsilon)
    assert_half_close(sensory, arrays["mid.sensory"], epsilon)


class StoredVideo:
    """Frames of a golden case as the propagator wants them."""

    def __init__(self, frames):
        self.pixels, self.size = frames, frames.shape[1:3]

    def __len__(self):
        return len(self.pixels)

    def read_frame(self, i):
        return self.pixels[i]

    def frames(self, start=0):
        return iter(self.pixels[start:])


@of_kind("propagation")
def test_propagation(case: GoldenCase, monkeypatch):
    """The published inference from frame 0 to the end: masks, probabilities, and how full the memories are."""
    arrays, memories, tokens = case.arrays, [], {}
    propagator = Propagator(load(case), settings(case))
    begin = propagator._pass
    monkeypatch.setattr(propagator, "_pass", lambda group, *more: begin(group, *more) or memories.append(group))
    report = StageReport(str(case))
    for found in propagator.propagate(StoredVideo(arrays["in.frames"]), [Job(0, arrays["in.labels"])]):
        agreement = np.mean(found.numbers == arrays["out.numbers"][found.frame])
        assert agreement >= AGREEMENT, f"{case} frame {found.frame}: {agreement:.5f} of the pixels agree"
        expected = arrays.get(f"out.probabilities_f{found.frame}")
        if expected is not None:
            report.add(f"f{found.frame}", thinned(found.probabilities, expected), expected, tolerance=near(found.frame))
        memory = memories[0].state.memory
        tokens[found.frame] = [memory.condensed, memory.working]
    assert list(tokens.values()) == arrays["out.tokens"][1:].tolist()
    report.check()
