"""The published votes, bit for bit, on every golden case of this package."""

from pathlib import Path

import numpy as np
import pytest
from fusion_core.recipe.nodes import Vote
from fusion_core.voting.fuse import fuse_video
from golden_cases import StageReport, find_cases
from mask_interchange import (
    Expression,
    MaskTrack,
    VideoMasks,
    binary_from_logits,
    binary_from_probabilities,
    support_from_probabilities,
)

CASES = find_cases("fusion_core", local=Path(__file__).parent / "goldens" / "fusion_core")


class Published:
    """A case's videos as members see them, by the name of their mask set."""

    def __init__(self, case, video):
        self.case, self.video = case, video
        self.about = case.manifest["config"]["videos"][video]

    def model(self, name):
        """A model's soft masks and scores, binarised as its producer would."""
        probabilities = name in self.case.manifest["config"]["probability_models"]
        binary = binary_from_probabilities if probabilities else binary_from_logits
        soft = self.case.arrays[f"in.mask.{name}.{self.video}"]
        scores = self.case.arrays[f"in.score.{name}.{self.video}"]
        support = [support_from_probabilities(masks) if probabilities else None for masks in soft]
        return self.masks(
            MaskTrack.from_masks(Expression(id=id_), binary(masks), scores=score, support=zeroless)
            for id_, masks, score, zeroless in zip(self.about["expression_ids"], soft, scores, support, strict=True)
        )

    def propagated(self, name):
        bits = self.unpacked(f"in.prop.{name}.{self.video}")
        ids = self.about["expression_ids"]
        return self.masks(MaskTrack.from_masks(Expression(id=id_), masks) for id_, masks in zip(ids, bits, strict=True))

    def expected(self, name):
        return self.unpacked(f"out.mask.{name}.{self.video}")

    def unpacked(self, array):
        return np.unpackbits(self.case.arrays[array], axis=-1)[..., : self.about["width"]].astype(bool)

    def masks(self, tracks):
        return VideoMasks(
            video=self.video,
            size=(self.about["height"], self.about["width"]),
            frame_names=tuple(self.about["frames"]),
            tracks=tuple(tracks),
        )


def stack(video_masks):
    return np.stack([track.stack() for track in video_masks.tracks])


def first_stage(name, config, probability_models):
    assert config["leftover"].startswith("first model alone"), config["leftover"]
    models = tuple(config["models"])
    return Vote(
        name=name,
        members=models,
        threshold=config["pair_threshold"],
        out_of=2 * len(models),
        leftover="first",
        leftover_takes_support=models[0] in probability_models,
    )


def second_stage(name, config):
    inputs = tuple(config["inputs"])
    return Vote(
        name=name,
        members=inputs,
        threshold=config["pair_threshold"],
        out_of=2 * len(inputs),
        leftover=config["leftover_threshold"],
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    assert case.kind == "fusion", f"{case}: no test for cases of kind {case.kind!r}"
    config = case.manifest["config"]
    report = StageReport(str(case), layers=0)
    for video in config["videos"]:
        published = Published(case, video)
        sets = {}

        def add(name, masks, *, video=video, published=published, sets=sets):
            sets[name] = masks
            keys = case.arrays.get(f"out.key.{name}.{video}")
            if keys is not None:
                report.add(f"{name}.{video} key frames", [track.key_frame for track in masks.tracks], keys)
            if f"out.mask.{name}.{video}" in case.arrays:
                report.add(f"{name}.{video} masks", stack(masks), published.expected(name))

        for array in case.names("in.mask."):
            name, of = array.removeprefix("in.mask.").rsplit(".", 1)
            if of == video:
                add(name, published.model(name))
        for name, rule in config["stage1"].items():
            vote = first_stage(name, rule, config["probability_models"])
            add(name, fuse_video(vote, [sets[member] for member in vote.members])[0])
        for name, rule in config["stage2"].items():
            vote = second_stage(name, rule)
            members = [
                sets[member.removeprefix("out.mask.")]
                if member.startswith("out.mask.")
                else published.propagated(member)
                for member in vote.members
            ]
            add(name, fuse_video(vote, members)[0])
    report.check()
