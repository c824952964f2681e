"""Parity with the published code, stage by stage; every case found is run by its kind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from aot_deaot.checkpoint import published_table
from aot_deaot.config import NetworkConfig
from aot_deaot.memory import Memory
from aot_deaot.network import PropagationNetwork, resize_logits, sine_positions
from aot_deaot.objects import ObjectTable
from aot_deaot.preprocess import network_image, network_labels, network_size
from aot_deaot.propagate import Propagator
from aot_deaot.settings import MemoryPolicy, SizeLimits, augmentations, faithful
from golden_cases import GoldenCase, StageReport, assert_half_close, find_cases
from program_kit.propagator import Job
from program_kit.torch.checkpoint.table import our_name
from program_kit.torch.precision import HALF, set_precision

from .published import load, network_config, published_state, swin_shape

CASES = find_cases("aot_deaot", local=Path(__file__).parent / "goldens")
AGREEMENT = 0.999  # of label pixels, as the manifests ask: where two ids are almost as likely, rounding decides


def test_every_case_has_a_known_kind():
    assert {case.kind for case in CASES} <= {"encoder", "engine", "bidirectional", "preprocess"}
    assert CASES


def of_kind(kind):
    return pytest.mark.parametrize("case", [case for case in CASES if case.kind == kind], ids=str)


def every(array, *steps):
    """Every n-th value along the last axes, as manifests say `[::16, ::2, ::2]`."""
    return np.asarray(array)[tuple(slice(None, None, step) for step in steps)]


def thinned(actual, expected):
    """`actual` reduced to the places that the golden array kept, read off the two shapes."""
    steps = [-(-a // e) for a, e in zip(actual.shape, expected.shape, strict=True)]
    return every(actual, *steps)


def normalised(frames, config):
    mean, std = (np.float32(config[f"image_{name}"]) for name in ("mean", "std"))
    images = (frames.astype(np.float32) / np.float32(255) - mean) / std
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


@of_kind("encoder")
def test_encoder(case: GoldenCase):
    config = case.manifest["config"]
    shape = swin_shape(config)
    network = PropagationNetwork(NetworkConfig(family="aot", encoder=shape, hidden_size=config["projector_dim"]))
    table = published_table(network.config)
    ours = {our_name(name, table): tensor for name, tensor in published_state(case).items()}
    part = {name for name in network.state_dict() if name.startswith(("encoder.", "projector."))}
    assert ours.keys() == part
    network.load_state_dict(ours, strict=False)
    network.eval()
    report = StageReport(str(case))
    for name in case.names("in."):
        image = name.removeprefix("in.").removesuffix(".frame")
        with torch.no_grad():
            maps, projected = network.encode_maps(normalised(case.arrays[name][None], config))
        for stage, found in {"s4": maps.s4, "s8": maps.s8, "s16": maps.s16, "proj": projected}.items():
            expected = case.arrays[f"out.{image}.{stage}"]
            report.add(f"{image}.{stage}", thinned(found[0].numpy(), expected), expected)
    report.check()


@of_kind("engine")
@torch.no_grad()
def test_engine(case: GoldenCase):
    config, run, arrays = case.manifest["config"], case.manifest["run"], case.arrays
    network = load(case, network_config(config))
    slots = config.get("max_aot_obj_num", network.config.max_objects)
    all_slots = "all" in str(config["active_ids"]) or "max" in str(config["active_ids"])
    images = normalised(arrays["in.frames"], config)
    features = [network.encode(image[None]) for image in images]
    report = StageReport(str(case))

    maps, projected = network.encode_maps(images[1:2])
    for stage, found in {"s4": maps.s4, "s8": maps.s8, "s16": maps.s16, "proj": projected}.items():
        expected = arrays[f"mid.enc_{stage}_t1"]
        report.add(f"enc_{stage}_t1", thinned(found[0], expected), expected)
    positions = sine_positions(*features[0].size, network.config.hidden_size, images.device)
    report.add("pos_emb", thinned(positions, arrays["mid.pos_emb"]), arrays["mid.pos_emb"])

    for count in run["object_sets"]:
        labels = torch.from_numpy(arrays[f"in.o{count}.labels"]).long()
        objects = ObjectTable(tuple(range(1, count + 1)), slots)
        engine = Engine(network, objects, report, arrays, f"o{count}", all_slots)
        engine.reference(features[0], labels[0])
        for t in range(1, len(features)):
            engine.propagate(t, features[t], labels[t], tuple(arrays["in.out_size"]))
        assert engine.tokens == arrays[f"out.o{count}.long_tokens"].tolist()
        expected = arrays[f"out.o{count}.labels"]
        agreement = np.mean(np.stack(engine.labels) == expected)
        assert agreement >= AGREEMENT, f"{case} o{count}: {agreement:.5f} of the label pixels agree"
    report.check()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "engine" and not c.is_full_size], ids=str)
@torch.no_grad()
def test_half_precision(case: GoldenCase, precision):
    """The frame after the reference, as later ones build on it."""
    config, arrays = case.manifest["config"], case.arrays
    network = load(case, network_config(config))
    set_precision(network, precision)
    features = [network.encode(image[None]) for image in normalised(arrays["in.frames"][:2], config)]
    count = case.manifest["run"]["object_sets"][0]
    objects = ObjectTable(tuple(range(1, count + 1)), config.get("max_aot_obj_num", network.config.max_objects))
    labels = torch.from_numpy(arrays[f"in.o{count}.labels"][0]).long()
    memory = Memory(MemoryPolicy(long_term_gap=None))
    memory.add_reference(network.memorize_reference(features[0], network.embed_ids(objects.split(labels))).entries)
    logits = network.segment(features[1], [[entry] for entry in memory.long], memory.short).logits
    expected = arrays[f"out.o{count}.logits_s4"][0]
    found = logits[0, : len(expected)] if expected.ndim == 3 else logits[:, : expected.shape[1]]
    assert_half_close(found.float(), expected, torch.finfo(HALF[precision]).eps)


class Engine:
    """One object table driven over frames by hand, comparing what the golden stored on the way."""

    def __init__(self, network, objects, report, arrays, prefix, all_slots):
        self.network, self.objects, self.report, self.arrays = network, objects, report, arrays
        self.prefix, self.all_slots = prefix, all_slots
        self.memory = Memory(MemoryPolicy(long_term_gap=network.config.long_term_gap))
        self.tokens, self.labels = [], []

    def compare(self, stage, found):
        expected = self.arrays.get(f"mid.{self.prefix}.{stage}")
        if expected is not None:
            self.report.add(f"{self.prefix}.{stage}", thinned(np.asarray(found), expected), expected)

    def compare_states(self, t, states):
        read = self.network.readout(states)
        read = read if len(read) == len(states) else [*(torch.cat(state, -1) for state in states[:-1]), read[-1]]
        for index, tokens in enumerate(read):
            self.compare(f"lstt_t{t}_l{index}", tokens[0])

    def reference(self, features, labels):
        identity = self.network.embed_ids(self.objects.split(labels))
        self.compare("id_emb_ref", identity[0])
        reference = self.network.memorize_reference(features, identity)
        self.compare_states(0, reference.states)
        self.memory.add_reference(reference.entries)
        for index, entry in enumerate(self.memory.long):
            for name, tensor in zip(self.names(), entry, strict=True):
                self.compare(f"long_{name}_t0_l{index}", tensor[0].transpose(0, 1).flatten(1))
        self.tokens.append(self.memory.tokens)

    def names(self):
        return ("K", "V") if self.network.config.family == "aot" else ("K", "V", "IDV")

    def propagate(self, t, features, labels, out_size):
        long = [[entry] for entry in self.memory.long]
        states, _ = self.network._propagate(features, lambda index, _: (long[index], self.memory.short[index]))
        self.compare_states(t, states)
        segmented = self.network.segment(features, long, self.memory.short)
        self.compare_logits(t, segmented.logits)
        size = tuple(int(side) for side in out_size)
        merged = self.objects.merge(
            resize_logits(segmented.logits[:, : self.objects.slots + 1], size, self.network.config.align_corners),
            all_slots=self.all_slots,
        )
        self.labels.append(merged.argmax(dim=0).numpy())
        last = self.arrays.get(f"out.{self.prefix}.logits_full_last")
        if last is not None and len(self.labels) == len(self.arrays[f"out.{self.prefix}.labels"]):
            self.report.add(f"{self.prefix}.logits_full_last", merged[: len(last)], last)
        self.memory.add_frame(
            self.network.memorize(segmented.layer_features, self.network.embed_ids(self.objects.split(labels)))
        )
        for name, tensor in zip(self.names(), self.memory.short[-1], strict=True):
            grid = tensor[0].transpose(1, 2).flatten(0, 1).unflatten(-1, features.size)
            self.compare(f"short_{name}_t{t}_llast", grid)
        self.tokens.append(self.memory.tokens)

    def compare_logits(self, t, logits):
        expected = self.arrays[f"out.{self.prefix}.logits_s4"][t - 1]
        found = logits[0, : len(expected)] if expected.ndim == 3 else logits[:, : expected.shape[1]]
        self.report.add(f"{self.prefix}.logits_s4_t{t}", found, expected)
        whole = self.arrays.get(f"out.{self.prefix}.logits_s4_last_all")
        if whole is not None and t == len(self.arrays[f"out.{self.prefix}.logits_s4"]):
            self.report.add(f"{self.prefix}.logits_s4_last_all", logits[0], whole)


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


def published_settings(config, network_config):
    """The settings that the manifest states; most of them are what `faithful` means."""
    settings = faithful(network_config)
    restart = "argument" in config["last_mem_step_at_reference"]
    return replace(
        settings,
        scales=tuple(config["TEST_MULTISCALE"]),
        flip=config["TEST_FLIP"],
        limits=SizeLimits(short_edge=config["max_short_edge"], long_edge=config["max_long_edge"]),
        active_ids="all" if config["active_ids"] == network_config.max_objects else "objects",
        feedback="own" if "own" in config["memory_feedback"] else "average",
        keep_memory=not config["reset_between_directions"],
        memory=replace(settings.memory, restart_clock=restart, short_term_skip=config.get("short_term_mem_skip", 1)),
    )


@of_kind("bidirectional")
def test_bidirectional(case: GoldenCase):
    config, arrays = case.manifest["config"], case.arrays
    network = load(case, network_config(config))
    settings = published_settings(config, network.config)
    jobs, names = [], []
    for name in [entry.split(".")[1] for entry in case.names("in.") if entry.endswith(".annotations")]:
        key = int(arrays[f"in.{name}.key"])
        labels = arrays[f"in.{name}.annotations"][key]
        labels = (labels > 0).astype(np.uint8) if config["single_obj"] else labels
        if labels.any():
            jobs.append(Job(key, labels))
            names.append(name)
        else:  # nothing to propagate: every frame keeps the mask it has
            np.testing.assert_array_equal(arrays[f"out.{name}.png"], arrays[f"in.{name}.annotations"])

    report = StageReport(str(case))
    pngs = {name: arrays[f"in.{name}.annotations"].copy() for name in names}
    for result in Propagator(network, settings).propagate(StoredVideo(arrays["in.frames"]), jobs):
        name = names[result.job]
        expected = arrays[f"out.{name}.ids"][result.frame]
        agreement = np.mean(result.numbers == expected)
        assert agreement >= AGREEMENT, f"{case} {name} frame {result.frame}: {agreement:.5f} of the ids agree"
        background = arrays.get(f"out.{name}.bg_prob_f{result.frame}")
        if background is not None:
            report.add(f"{name}.bg_prob_f{result.frame}", result.probabilities[0], background)
        pngs[name][result.frame] = np.where(result.mask(), 255, 0)
    for name, png in pngs.items():
        assert np.mean(png == arrays[f"out.{name}.png"]) >= AGREEMENT
    report.check()


@of_kind("bidirectional")
def test_memories_are_filled_as_traced(case: GoldenCase):
    """Tokens, frame counter and time of the last entry, by driving a memory as the two directions do."""
    config = case.manifest["config"]
    settings = published_settings(config, network_config(config))
    for name, trace in case.manifest["memory_trace"].items():
        height, width = trace["network_sizes"][0]
        tokens = height // 16 * (width // 16)
        entry = [(torch.zeros(1, 1, tokens, 1), torch.zeros(1, 1, tokens, 1))]
        memory = Memory(settings.memory)
        for direction, events in trace["stages"].items():
            for event, *expected in events:
                memory.add_reference(entry) if event == "ref" else memory.add_frame(entry)
                found = [memory.tokens, memory.frame_counter, memory.last_stored]
                assert found == expected, f"{case} {name} {direction} {event}"


@of_kind("preprocess")
def test_preprocess(case: GoldenCase):
    config, arrays = case.manifest["config"], case.arrays
    views = augmentations(tuple(config["scales"]), config["flip"])
    policies = {"long1040": SizeLimits(), "short624_long1040": SizeLimits(short_edge=624.0)}
    for policy, limits in policies.items():
        found = [
            [network_size(tuple(size), scale, limits, config["align_corners"]) for scale in config["scales"]]
            for size in arrays["in.hw"].tolist()
        ]
        np.testing.assert_array_equal(found, arrays[f"out.sizes_{policy}"])
    report = StageReport(str(case), layers=2)  # resizing along both sides
    frame, label = arrays["in.frame"], torch.from_numpy(arrays["in.label"])[None]
    for index, view in enumerate(views):
        size = network_size(frame.shape[:2], view.scale, SizeLimits(), config["align_corners"])
        assert size == tuple(arrays[f"out.aug{index}.size"])
        assert view.mirrored == bool(arrays[f"out.aug{index}.flip"])
        np.testing.assert_array_equal(network_labels(label, size, view.mirrored)[0], arrays[f"out.aug{index}.label"])
        expected = arrays.get(f"out.aug{index}.image")
        if expected is not None:
            image = network_image(frame, size)[0]
            image = image.flip(-1) if view.mirrored else image
            report.add(f"aug{index}.image", thinned(image, expected), expected)
    report.check()
