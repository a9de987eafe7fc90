"""The order of integers against NumPy's."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.ops.sorting import stable_order

keys = st.lists(st.one_of(st.integers(0, 3), st.integers(2046, 2050), st.integers(0, 2**62)))


@given(keys)
def test_equal_keys_stay_as_they_come(keys):
    keys = np.array(keys, np.int64)
    expected = keys.argsort(kind="stable")
    assert stable_order(torch.from_numpy(keys)).tolist() == expected.tolist()
