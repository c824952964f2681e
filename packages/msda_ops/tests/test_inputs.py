"""Wrong arguments: the message shows what was expected, what came and the arithmetic."""

import pytest
import torch
from msda_ops import InputError, LibraryError, MSDAError, MSDeformAttn, backend, library, ms_deform_attn

SHAPES = [(4, 5), (2, 3)]


def _arguments() -> dict:
    return {
        "value": torch.zeros(2, 26, 2, 8),
        "spatial_shapes": SHAPES,
        "sampling_locations": torch.zeros(2, 3, 2, 2, 4, 2),
        "attention_weights": torch.zeros(2, 3, 2, 2, 4),
    }


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("value", torch.zeros(2, 25, 2, 8), r"4 \* 5 \+ 2 \* 3 = 26, got S = 25 in value \[2, 25, 2, 8\]"),
        ("value", torch.zeros(2, 26, 16), r"value must be \[B, S, M, D\], got shape \[2, 26, 16\]"),
        ("value", torch.zeros(2, 26, 2, 8, dtype=torch.int64), "value must be a floating point tensor"),
        ("value", torch.zeros(1, 26, 2, 8), r"= \[1, 3, 2, 2, 4, 2\], got \[2, 3, 2, 2, 4, 2\]: B = 1"),
        ("spatial_shapes", torch.tensor(SHAPES), r"\.tolist\(\)"),
        ("spatial_shapes", [(4, 5), (0, 3)], "at least 1"),
        ("spatial_shapes", [(26, 1)], "L = 1 from spatial_shapes"),
        ("spatial_shapes", [], "0 = 0, got S = 26"),
        ("sampling_locations", torch.zeros(2, 3, 2, 2, 4, 3), r"= \[2, 3, 2, 2, 4, 2\], got \[2, 3, 2, 2, 4, 3\]"),
        ("sampling_locations", torch.zeros(2, 3, 2, 2, 8), r"\[B, Q, M, L, P, 2\]"),
        ("attention_weights", torch.zeros(2, 3, 2, 2, 5), r"P = 4 from sampling_locations"),
        ("attention_weights", torch.zeros(2, 3, 2, 2, 4, device="meta"), "must be on one device"),
    ],
)
def test_message_shows_the_arithmetic(name: str, wrong: object, message: str):
    with pytest.raises(InputError, match=message) as caught:
        ms_deform_attn(**_arguments() | {name: wrong})
    assert isinstance(caught.value, MSDAError)
    assert isinstance(caught.value, ValueError)


def test_right_arguments_pass():
    assert ms_deform_attn(**_arguments()).shape == (2, 3, 16)


def test_module_names_the_wrong_argument():
    with pytest.raises(ValueError, match="d_model=10, n_heads=4"):
        MSDeformAttn(d_model=10, n_heads=4)
    module = MSDeformAttn(d_model=8, n_levels=1, n_heads=2, n_points=1)
    with pytest.raises(ValueError, match=r"got 3 in shape \(1, 2, 1, 3\)"):
        module(torch.zeros(1, 2, 8), torch.zeros(1, 2, 1, 3), torch.zeros(1, 4, 8), [(2, 2)])
    padding = torch.zeros(1, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="a padding mask is the argument after it"):
        module(torch.zeros(1, 2, 8), torch.zeros(1, 2, 1, 2), torch.zeros(1, 4, 8), [(2, 2)], padding)


def test_backend_refuses_integers():
    with pytest.raises(InputError, match="int32"):
        backend("cpu", torch.int32)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({"batch": -1}, "batch is -1, must not be negative"),
        ({"spatial_shapes": [0, 3]}, "level 0 is 0 x 3"),
        ({"spatial_shapes": [2**24 + 1, 1]}, "each side must be 1 to 16777216"),
        ({"spatial_shapes": [2**20, 2**20]}, "more than 2147483647 tokens"),
        ({"spatial_shapes": [1, 1] * 65}, "levels is 65"),
    ],
)
def test_library_checks_for_itself(problem: dict, message: str, cpu_kernel):
    sizes = {"batch": 1, "queries": 0, "heads": 1, "channels": 1, "points": 1, "spatial_shapes": [2, 2]} | problem
    with pytest.raises(LibraryError, match=message):
        library.load().cpu_forward(library.Problem(**sizes), "float32", 0, 0, 0, 0, threads=1)


def test_library_refuses_half_on_the_cpu(cpu_kernel):
    problem = library.Problem(batch=1, queries=0, heads=1, channels=1, points=1, spatial_shapes=[2, 2])
    with pytest.raises(LibraryError, match="float32 and float64"):
        library.load().cpu_forward(problem, "float16", 0, 0, 0, 0, threads=1)


def test_gpu_calls_fail_in_words_without_gpu(cpu_kernel):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(LibraryError, match="CUDA"):
        library.load().check_cuda(0)
    problem = library.Problem(batch=1, queries=1, heads=1, channels=1, points=1, spatial_shapes=[1, 1])
    with pytest.raises(LibraryError, match="CUDA"):
        library.load().cuda_forward(problem, "float32", 0, 0, 0, 0, device=0, stream=0)
