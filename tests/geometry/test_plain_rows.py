"""Plain rows are read as Python's `float` reads them, to the bit; all others are left to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.geometry.plain_rows import plain_rows

PIECES = st.sampled_from(
    ["Car", "0", "1", "9", ".", "-", "+", "e", "_", " ", "\t", "\n", "\r", "٣"]
)


def same(found: np.ndarray, expected: list) -> bool:
    """Equal to the bit, the sign of zero among them."""
    return found.tobytes() == np.array(expected, np.float64).tobytes()


@given(st.integers(-(2**53) // 10, 2**53 // 10), st.integers(0, 22))
def test_numbers_are_those_of_python(whole, places):
    digits = f"{abs(whole):0{places + 1}d}"
    text = "-" * (whole < 0) + f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}"
    words, table = plain_rows(f"Car {text}\n")
    assert words == ["Car"]
    assert same(table, [[float(text)]])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_whatever_is_read_is_what_python_reads(text):
    if (found := plain_rows(text)) is None:
        return
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert found[0] == [row[0] for row in rows]
    assert same(found[1], [[float(x) for x in row[1:]] for row in rows])


@pytest.mark.parametrize("text", ["Car 1 -2.50\nVan +3 -0\n", "\n Car\t1  -2.5 \r\n\r\nVan 3. -.0"])
def test_rows(text):
    words, table = plain_rows(text)
    assert words == ["Car", "Van"]
    assert same(table, [[1, -2.5], [3, -0.0]])


@pytest.mark.parametrize(
    "text",
    ["", "\n", "Car", "Car 1\nVan", "Car 1\nVan 1 2", "Car 1e3", "Car nan", "Car 1_0", "Car ٣",
     "Car 1.2.3", "Car -", "Car .", "Car 1\rVan 2", "Car 1\x0bVan 2", "Car 12345678901234567",
     f"Car 0.{'0' * 23}"],
)  # fmt: skip
def test_others_are_left(text):
    assert plain_rows(text) is None
