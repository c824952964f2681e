"""From frames and expressions to tracks."""

import numpy as np
from golden_cases.grounded.predictor_contract import EXPRESSIONS, PredictorContract
from mutr import MUTRPredictor, cli
from mutr.preprocess import RESIZE, RESIZE_FOR_MASKS


class TestPredictor(PredictorContract):
    kind = MUTRPredictor
    command = cli.main


def test_two_published_sizes():
    """Scores at one, masks at the other; both come from the same option."""
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 70, 101, 3), dtype=np.uint8))
    assert (RESIZE.size((720, 1280)), RESIZE_FOR_MASKS.size((720, 1280))) == ((360, 640), (432, 768))
    small, large = (MUTRPredictor.load(seed=0, config="tiny", device="cpu", short_side=side) for side in (64, 80))
    [one], [other] = small.segment(frames, EXPRESSIONS[:1]), large.segment(frames, EXPRESSIONS[:1])
    assert one.size == other.size == (70, 101)
    assert one.key_frame == other.key_frame == 0
    assert not np.array_equal(one.scores, other.scores)
