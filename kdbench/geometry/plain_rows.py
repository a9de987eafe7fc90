"""Text rows of a word and numbers, as KITTI's files have them, read some ten times as fast as by
Python's `float`: the result files of a validation hold tens of millions of numbers.

Only what is plain is read: ASCII, and numbers in decimal digits whose value one division gives. A
whole number below 2^53 and a power of ten up to 10^22 are floats as they are, and so their quotient
is the float nearest to the number, which is Python's too (Clinger 1990, PLDI).
"""

import numpy as np
from numba import njit

POWERS = np.array([float(f"1e{k}") for k in range(23)])
LARGEST = 2**53 // 10 - 1  # a whole number to which one more digit can be added
TAB, LINE, RETURN, SPACE, PLUS, MINUS, POINT, ZERO, NINE = b"\t\n\r +-.09"


def plain_rows(text: str) -> tuple[list[str], np.ndarray] | None:
    """The first words of the rows, and the numbers (n, columns) after them, float64.

    None where there is no row, where rows have more or fewer columns than the first, and where
    anything in them is not plain.
    """
    columns = len(text.lstrip().partition("\n")[0].split()) - 1
    if columns < 1 or not text.isascii():
        return None
    lines = text.count("\n") + 1
    table, words = np.empty((lines, columns)), np.empty((lines, 2), np.int64)
    count = _scan(np.frombuffer(text.encode(), np.uint8), table, words)
    if count < 0:
        return None
    return [text[start:end] for start, end in words[:count].tolist()], table[:count]


@njit(cache=True, nogil=True)
def _scan(data, table, words):
    """Fills numbers (n, columns), and where words begin and end (n, 2); returns how many rows.

    -1 where something is not plain, or a row has another number of columns.
    """
    at, row = 0, 0
    while at < len(data):
        at = _after_blanks(data, at)
        if at < len(data) and data[at] > SPACE:
            words[row, 0] = at
            while at < len(data) and data[at] > SPACE:
                at += 1
            words[row, 1] = at
            for column in range(table.shape[1]):
                at, table[row, column] = _number(data, _after_blanks(data, at))
                if at < 0:
                    return -1
            at = _after_blanks(data, at)
            row += 1
        if at < len(data) and data[at] == RETURN:
            at += 1
        if at < len(data):
            if data[at] != LINE:
                return -1
            at += 1
    return row


@njit(cache=True, nogil=True)
def _after_blanks(data, at):
    while at < len(data) and (data[at] == SPACE or data[at] == TAB):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _number(data, at):
    """Where the number that begins at `at` ends, and its value; -1 where none is or not plain."""
    negative = at < len(data) and data[at] == MINUS
    if at < len(data) and (negative or data[at] == PLUS):
        at += 1
    whole, digits, behind, pointed = 0, 0, 0, False
    while at < len(data) and data[at] > SPACE:
        if ZERO <= data[at] <= NINE and whole <= LARGEST:
            whole = 10 * whole + data[at] - ZERO
            digits += 1
            behind += pointed
        elif data[at] == POINT and not pointed:
            pointed = True
        else:
            return -1, 0.0
        at += 1
    if digits == 0 or behind >= len(POWERS):
        return -1, 0.0
    value = whole / POWERS[behind]
    return at, -value if negative else value
