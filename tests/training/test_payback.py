"""Steps for seconds."""

import pytest

from kdbench.errors import KdbenchError
from kdbench.training.payback import extra_steps


def record(steps, seconds):
    return {"hash": "h", "training": {"steps": steps, "seconds_per_step": seconds}}


def test_extra_seconds_over_seconds_a_step():
    plain, distilled, teacher = record(100, 0.1), record(100, 0.25), record(50, 0.4)
    assert extra_steps(plain, distilled, None) == 150
    assert extra_steps(plain, distilled, teacher) == 150 + 200


def test_a_method_that_costs_nothing_still_trains_on():
    assert extra_steps(record(100, 0.2), record(100, 0.1), None) == 1


def test_a_record_without_times_is_named():
    with pytest.raises(KdbenchError, match="run h: its record has no time"):
        extra_steps(record(100, None), record(100, 0.2), None)
