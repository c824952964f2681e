"""What holds for a whole predictor of this family: sharing, grouping and streaming do not change its results."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from mask_interchange import MaskRun
from PIL import Image
from program_kit.options import Precision
from program_kit.torch import memory
from program_kit.torch.precision import set_precision
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.config import Windows
from rvos_layers.inference.model_factory import ModelPredictor
from rvos_layers.inference.query_masks import choose_query
from typer.testing import CliRunner

from golden_cases import assert_same_track

DATA = os.environ.get("RVOS_DATA", "")
EXPRESSIONS = ["a dog", "the brown dog that turns round at the end", "Grass"]
Frames = list[np.ndarray]


class PredictorContract:
    """Tests to inherit from.

    A subclass names the `kind` of predictor and the `command` that runs it.
    """

    kind: type[ModelPredictor]
    command: typer.Typer

    @pytest.fixture(scope="class")
    @classmethod
    def predictor(cls, frames: Frames) -> ModelPredictor:
        """A tiny random network whose masks are neither empty nor full; the first seed that draws such ones."""
        made = cls.kind.load(seed=0, config="tiny", device="cpu", short_side=64)
        for seed in range(20):
            torch.manual_seed(seed)
            torch.nn.init.normal_(network(made).masks.controller.last.weight, std=0.5)
            if all(0.02 < track.stack().mean() < 0.98 for track in made.segment(frames, EXPRESSIONS)):
                return made
        pytest.fail("no seed gives masks that are neither empty nor full")

    @pytest.fixture(scope="class")
    @classmethod
    def frames(cls) -> Frames:
        """Four frames of a bright square that wanders over noise."""
        clip = np.random.default_rng(0).integers(0, 120, (4, 70, 101, 3), dtype=np.uint8)
        for t, frame in enumerate(clip):
            frame[20 + t : 45 + t, 5 * t : 5 * t + 30] = (250, 200, 90)
        return list(clip)

    def test_expressions_together_and_alone(self, predictor: ModelPredictor, frames: Frames) -> None:
        together = predictor.segment(frames, EXPRESSIONS)
        assert all(0.01 < track.stack().mean() < 0.99 for track in together)
        for track in together:
            [alone] = predictor.segment(frames, [track.expression])
            assert_same_track(alone, track)

    @pytest.mark.parametrize("bytes_at_once", [1, 2**17, 2**40])
    def test_expressions_in_groups(
        self, predictor: ModelPredictor, frames: Frames, bytes_at_once: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = predictor.segment(frames, EXPRESSIONS)
        monkeypatch.setattr(memory, "group_bytes", lambda device: bytes_at_once)
        for one, other in zip(predictor.segment(iter(frames), EXPRESSIONS), expected, strict=True):
            assert_same_track(one, other)

    def test_the_video_is_encoded_once_and_only_masks_of_chosen_queries_are_computed(
        self, predictor: ModelPredictor, frames: Frames, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, encoded, shapes = network(predictor), [], []
        encode, predict_masks = model.encode_video, model.predict_masks
        monkeypatch.setattr(model, "encode_video", lambda clip: encoded.append(clip.shape) or encode(clip))
        monkeypatch.setattr(
            model,
            "predict_masks",
            lambda v, t, outputs: shapes.append(outputs.states.shape[:3]) or predict_masks(v, t, outputs),
        )
        predictor.segment(frames, EXPRESSIONS)
        assert encoded == [(1, 4, 3, 64, 92)]
        assert sum(count for count, _, _ in shapes) == len(EXPRESSIONS)
        assert {shape[1:] for shape in shapes} == {(4, 1)}

    def test_a_string_is_one_expression(self, predictor: ModelPredictor, frames: Frames) -> None:
        [track] = predictor.segment(frames, EXPRESSIONS[1])
        assert (track.expression.id, track.expression.text) == ("0", EXPRESSIONS[1])

    def test_a_path_in_place_of_frames_is_refused(self, predictor: ModelPredictor) -> None:
        wrong: Any = Path("clip.mp4")
        with pytest.raises(TypeError, match=r"found the path clip\.mp4; open it with mask_interchange\.open_video"):
            predictor.segment(wrong, EXPRESSIONS)

    @pytest.mark.parametrize("frames_of_window", [4, 9])
    def test_a_video_that_fits_into_a_window_has_the_published_masks(
        self, predictor: ModelPredictor, frames: Frames, frames_of_window: int
    ) -> None:
        windows = Windows(frames=frames_of_window, overlap=1)
        windowed = self.kind(predictor.model, predictor.tokenizer, predictor.resize, windows=windows)
        assert windowed.segment(frames, EXPRESSIONS) == predictor.segment(frames, EXPRESSIONS)

    def test_a_longer_video_is_cut_into_windows(self, predictor: ModelPredictor, frames: Frames) -> None:
        windows = Windows(frames=3, overlap=1)
        windowed = self.kind(predictor.model, predictor.tokenizer, predictor.resize, windows=windows)
        for track in windowed.segment(frames, EXPRESSIONS):
            [first] = predictor.segment(frames[:3], [track.expression])
            assert track.masks[:2] == first.masks[:2]
            assert len(track) == len(frames)

    def test_windows_stand_in_the_manifest(self, frames: Frames, tmp_path: Path) -> None:
        (tmp_path / "clip").mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / "clip" / f"{number}.png")
        arguments = ["--video", tmp_path / "clip", "-e", EXPRESSIONS[0], "--out", tmp_path / "run", "--device", "cpu"]
        arguments += ["--weights", "random:0", "--config", "tiny", "--short-side", 64, "--window", 3]
        result = CliRunner().invoke(self.command, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        run = MaskRun.open(tmp_path / "run")
        assert (run.manifest.settings["window"], run.manifest.settings["overlap"]) == (3, 1)
        assert len(run.read("clip").frame_names) == len(frames)

    @pytest.mark.parametrize("precision", ["float16", "bfloat16"])
    def test_half_precision_is_close_and_ends_in_float32(self, frames: Frames, precision: Precision) -> None:
        full, half = (self.kind.load(device="cpu", precision=name) for name in ("strict", precision))
        types: set[torch.dtype] = set()
        network(half).masks.controller.last.register_forward_hook(lambda _, __, output: types.add(output.dtype))
        for one, other in zip(full.segment(frames, EXPRESSIONS), half.segment(frames, EXPRESSIONS), strict=True):
            assert one.scores is not None
            assert other.scores is not None
            assert other.scores.dtype == np.float32
            np.testing.assert_allclose(one.scores, other.scores, atol=0.02)
            assert (one.stack() != other.stack()).mean() < 0.02
        assert types == {getattr(torch, precision)}

    @pytest.mark.parametrize("precision", ["strict", "bfloat16"])
    def test_a_gpu_never_waits_for_the_network(self, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
        from golden_cases.torch.fake_gpu import on_fake_gpu  # of another extra, which the packages take as well

        monkeypatch.setattr("msda_ops.ops.path_name", lambda *_: "cuda")
        model: Any = self.kind.factory.build_with_weights("tiny", None).eval()
        set_precision(model, precision)

        def segment(gpu: torch.device) -> torch.Tensor:
            video = model.encode_video(torch.empty(1, 11, 3, 70, 94, device=gpu))  # windows at the end of every axis
            ids = torch.empty(3, 7, dtype=torch.int64, device=gpu)
            text = model.encode_text(Tokens(ids, ids == 0))
            outputs = model.decode(video, text)
            return model.predict_masks(video, text, outputs.select(choose_query(outputs.logits).query))

        assert on_fake_gpu(model, segment).shape == (3, 11, 1, 18, 24)

    def test_loading_draws_no_random_numbers(self) -> None:
        from golden_cases.torch.loading import RandomNumbers

        with RandomNumbers() as numbers:
            self.kind.load(device="cpu")
        assert numbers.drawn == 0

    def test_loading_imports_nothing_slow(self) -> None:
        from golden_cases.torch.loading import slow_imports

        module, name = self.kind.__module__, self.kind.__name__
        assert slow_imports(f"from {module} import {name}\n{name}.load(device='cpu')") == []

    def test_the_command_knows_every_configuration(self) -> None:
        result = CliRunner().invoke(self.command, ["--help"])
        assert result.exit_code == 0
        assert "|".join(self.kind.factory.configs) in result.output

    @pytest.mark.skipif(not DATA, reason="RVOS_DATA does not name the folder of test data")
    def test_real_frames_end_to_end(self, tmp_path: Path) -> None:
        folder = tmp_path / "dog"
        folder.mkdir()
        for path in sorted((Path(DATA) / "davis_mini" / "JPEGImages" / "dog").glob("*.jpg"))[:3]:
            (folder / path.name).write_bytes(path.read_bytes())
        arguments = ["--video", folder, "-e", "the brown dog", "-e", "a dog turning", "--out", tmp_path / "run"]
        arguments += ["--weights", "random:0", "--config", "tiny", "--device", "cpu", "--short-side", "90"]
        result = CliRunner().invoke(self.command, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        run = MaskRun.open(tmp_path / "run")
        assert run.manifest.settings["short_side"] == 90
        masks = run.read("dog")
        assert masks.frame_names == ("00000", "00001", "00002")
        assert [track.expression.text for track in masks.tracks] == ["the brown dog", "a dog turning"]
        assert {track.stack().shape for track in masks.tracks} == {(3, *masks.size)}


def network(predictor: ModelPredictor) -> GroundedSegmenter:
    """The predictor's network."""
    assert isinstance(predictor.model, GroundedSegmenter)
    return predictor.model
