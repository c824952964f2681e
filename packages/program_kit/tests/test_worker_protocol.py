"""Orders as lines."""

import pytest
from program_kit.worker_protocol import Order


@pytest.mark.parametrize(
    ("line", "video", "details"),
    [
        ("dog", "dog", {}),
        ('{"video": "dog"}', "dog", {}),
        ('{"video": "dog", "frames": "1:3"}', "dog", {"frames": "1:3"}),
        ('{"video": "dog", "frames": null, "prompts": null}', "dog", {}),
        ('{"frames": "1:3"}', '{"frames": "1:3"}', {}),
        ("{dog}", "{dog}", {}),
    ],
)
def test_a_line_is_an_id_or_an_order(line, video, details):
    order = Order.parse(line)
    assert (order.video, dict(order.details)) == (video, details)
