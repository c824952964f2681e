"""Compare computations that may differ in their rounding and in nothing else."""

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

EPSILON = float(np.finfo(np.float32).eps)
ROUNDINGS = 32  # of one layer, in epsilons of its largest value: see `rounding`
NETWORK = 100  # layers in a row in the deepest networks here: a backbone of 24 blocks, encoder, decoder, mask branch
# The norm of a parameter's gradient, relative. Gradients are not continuous: one sampling point that rounding moves
# across the middle of a pixel, or one unit across 0, changes a norm by some 1e-4, as the published code in float32 does
# against itself in float64.
GRADIENT = 1e-3
# The share of pixels that rounding may decide: those whose logit lies within `rounding` of 0. Of logits that spread
# evenly over their range these are 4 in 100 000; of real ones, which gather somewhere, perhaps 20 times as many.
UNDECIDED = 1e-3


def rounding(reference: npt.ArrayLike, layers: int = 1, epsilon: float = EPSILON) -> float:
    """The largest difference from `reference` that rounding explains.

    Every processor, library and number of threads adds the terms of a sum in an order of its own, so that two right
    results differ. A sum of some thousand products, in the several lanes in which all of them add, is a random walk of
    some hundred steps, each at most half an epsilon of the largest value: about 8 epsilons. The largest of a million
    such values lies some 4 times further out, which makes 32. The errors of layers that follow one another are
    independent, and normalisation keeps their size: they grow with the square root of the number of layers. A mistake
    in the arithmetic changes a result by far more: by a share of its size that one sees without a microscope.

    Golden cases bear this out: where their manifests state how far the published code in float32 is off itself in
    float64, whole networks are off by 1 to 40 epsilons of their largest value, and the bound for 100 layers is 320.

    Args:
        reference: what the largest value is taken from. A sigmoid is a quarter as uncertain as its logits: for a
            probability pass a quarter of the largest logit (1 where logits lie within 4 of 0), not the probability.
        layers: how many layers, each a sum of products, follow one another up to this result; 0: not a bit may differ.
        epsilon: of the type in which the computation was done.

    Returns:
        an absolute difference; 0 for an empty reference.
    """
    largest = float(np.abs(_values(reference).astype(np.float64)).max(initial=0.0))
    return ROUNDINGS * math.sqrt(layers) * epsilon * largest


def assert_half_close(actual: npt.ArrayLike, expected: npt.ArrayLike, epsilon: float, layers: int = NETWORK) -> None:
    """Fail when the result of a network in half precision is further from that in float32 than its type explains.

    A half precision sums in float32; what it rounds are a layer's weights, its input and its output. Each is off by
    evenly spread errors of at most half an epsilon, 0.3 epsilons in the root mean square, all three together by 0.5.
    Layers add up as in `rounding`. Four times that is allowed, in the root mean square over all values: results may be
    small differences of larger numbers, and layers that are not linear enlarge errors. Single values may be further
    off: half precision is not meant to be exact.

    Args:
        actual: in half precision, turned into float32.
        expected: in float32.
        epsilon: of the half type, as `torch.finfo` has it.
        layers: how many layers follow one another up to this result.
    """
    a, e = (_values(values).astype(np.float64) for values in (actual, expected))
    assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
    off, size = (float(np.sqrt(np.square(values).mean())) for values in (a - e, e))
    limit = 4 * 0.5 * math.sqrt(layers) * epsilon * size
    assert off <= limit, f"root mean square {off:.3g} off, of values of {size:.3g}; the type explains {limit:.3g}"


def _values(given: npt.ArrayLike) -> np.ndarray:
    """An array or a torch tensor, also one that asks for gradients, as an array."""
    detach = getattr(given, "detach", None)
    return np.asarray(given if detach is None else detach())


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, layers: int = 1, epsilon: float = EPSILON) -> None:
    """Fail when two arrays differ by more than `rounding(expected, layers, epsilon)`."""
    report = StageReport("two computations of the same", layers, epsilon)
    report.add("result", actual, expected)
    report.check()


class Track(Protocol):
    """What a program says of one expression; `mask_interchange.MaskTrack` is one."""

    @property
    def scores(self) -> npt.ArrayLike | None:
        """Probabilities [T]."""
        ...

    @property
    def key_frame(self) -> int | None:
        """Frame of the highest score."""
        ...

    def stack(self) -> np.ndarray:
        """Masks bool [T, H, W]."""
        ...


def assert_same_track(one: Track, other: Track) -> None:
    """Fail when two tracks differ by more than the rounding of a network: in scores, key frame or masks."""
    near = rounding(1, NETWORK)
    scores, expected = np.asarray(one.scores), np.asarray(other.scores)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=near)
    # Of two frames that are equally sure, either may be the key frame.
    assert expected[one.key_frame] >= expected.max() - 2 * near, f"key frames {one.key_frame} and {other.key_frame}"
    flipped = float((one.stack() != other.stack()).mean())
    assert flipped < UNDECIDED, f"{flipped:.2%} of the pixels differ"


@dataclass
class StageReport:
    """Collects differences in the order of the data flow; `check` fails with the first stage that moved.

    Attributes:
        case: name of the case, for the message.
        layers: how many layers follow one another up to the last stage; as much as `rounding` says of them may differ.
        epsilon: of the type in which the computation was done.
    """

    case: str
    layers: int = NETWORK
    epsilon: float = EPSILON
    _rows: list[tuple[str, float, float]] = field(default_factory=list)

    def add(self, stage: str, actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float | None = None) -> None:
        """Record one stage; a shape mismatch or a NaN on one side counts as infinitely far.

        Args:
            stage: its name, for the message.
            actual: our values.
            expected: values of the reference.
            tolerance: the absolute difference that counts as equal, where it is not that of rounding.
        """
        a, e = _values(actual), _values(expected)
        if a.shape != e.shape:
            raise AssertionError(f"{self.case}: {stage} has shape {a.shape}, expected {e.shape}")
        difference = np.abs(a.astype(np.float64) - e.astype(np.float64))
        largest = float(difference.max(initial=0.0))
        limit = rounding(e, self.layers, self.epsilon) if tolerance is None else tolerance
        self._rows.append((stage, float("inf") if np.isnan(largest) else largest, limit))

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """(stage, largest difference, tolerance) in the order of comparison."""
        return list(self._rows)

    def check(self) -> None:
        """Raise AssertionError naming the first stage beyond its tolerance; fails when nothing was compared."""
        assert self._rows, f"{self.case}: nothing was compared"
        moved = [row for row in self._rows if row[1] > row[2]]
        if moved:
            table = "\n".join(f"  {'MOVED' if d > t else 'ok   '} {s}: {d:.3g} (<= {t:g})" for s, d, t in self._rows)
            raise AssertionError(f"{self.case}: first stage that moved is {moved[0][0]!r}\n{table}")
