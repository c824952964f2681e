"""From frames and expressions to tracks."""

from golden_cases.grounded.predictor_contract import PredictorContract
from referformer import ReferFormerPredictor, cli
from referformer.preprocess import RESIZE


class TestPredictor(PredictorContract):
    kind = ReferFormerPredictor
    command = cli.main


def test_only_the_short_side_counts():
    assert RESIZE.size((720, 1280)) == (360, 640)
    assert RESIZE.size((300, 900)) == (360, 1080)
    assert RESIZE.size((1000, 360)) == (1000, 360)
