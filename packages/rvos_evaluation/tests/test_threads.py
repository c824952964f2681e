import threading

import pytest
from rvos_evaluation.threads import in_threads


def test_results_come_in_the_order_of_the_items():
    events = [threading.Event() for _ in range(2)]

    def work(item):
        if item == 0:
            events[1].wait(5)
        else:
            events[item].set()
        return item

    assert list(in_threads(work, range(2))) == [0, 1]


def test_nothing_is_started_after_an_error():
    started = []

    def work(item):
        started.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(in_threads(work, range(10_000)))
    assert len(started) < 10_000
