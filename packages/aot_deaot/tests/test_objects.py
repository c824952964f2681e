"""Object ids, numbers and slots."""

import numpy as np
import pytest
import torch
from aot_deaot.objects import ObjectTable
from hypothesis import given
from hypothesis import strategies as st
from program_kit.errors import InputError

LABELS = np.array([[0, 7, 7], [200, 0, 3]], np.uint8)


def test_ids_become_numbers_in_order():
    table = ObjectTable((3, 7, 200), slots=10)
    np.testing.assert_array_equal(table.number(LABELS), [[0, 2, 2], [3, 0, 1]])


def test_an_unknown_id_is_an_error():
    with pytest.raises(InputError, match="object id 200"):
        ObjectTable((3, 7), slots=10).number(LABELS)


def test_more_objects_than_numbers():
    assert ObjectTable(tuple(range(1, 251)), slots=10).sets == 25
    with pytest.raises(InputError, match="251 objects, at most 250"):
        ObjectTable(tuple(range(1, 252)), slots=10)


@given(st.integers(1, 23), st.integers(1, 10))
def test_sets_hold_every_object_once(count, slots):
    table = ObjectTable(tuple(range(1, count + 1)), slots)
    numbers = torch.arange(count + 1)[None]
    split = table.split(numbers)
    assert split.shape == (table.sets, 1, count + 1)
    assert int((split > 0).sum()) == count
    assert sum(table.held(index) for index in range(table.sets)) == count
    back = split + torch.where(split > 0, torch.arange(table.sets)[:, None, None] * slots, 0)
    assert torch.equal(back.amax(dim=0), numbers)


def test_one_set_drops_slots_without_object():
    logits = torch.randn(1, 11, 2, 2)
    assert ObjectTable((5, 9), 10).merge(logits, all_slots=False).shape[0] == 3
    assert ObjectTable((5, 9), 10).merge(logits, all_slots=True).shape[0] == 11


def test_merged_sets_agree_on_background_only_together():
    table = ObjectTable((1, 2, 3), slots=2)
    logits = torch.full((2, 3, 1, 2), -5.0)
    logits[:, 0] = 5.0  # both sets see background everywhere
    logits[1, 1, 0, 1] = 9.0  # the second set's first object claims the second pixel
    merged = table.merge(logits, all_slots=False)
    assert merged.shape[0] == 5  # background and two slots for each set
    assert merged.argmax(dim=0).tolist() == [[0, 3]]
