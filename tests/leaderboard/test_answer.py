"""The sentences at the end of a report."""

from dataclasses import replace

import pytest

from kdbench.leaderboard.answer import answers
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import sections


@pytest.fixture
def told(record, student):
    """The sentences about methods with a mean mAP and a number of seeds."""

    def tell(seeds: int, of_none: int, frames: bool = True, **means: float) -> str:
        made = [
            record(replace(student(name), seed=seed), mean + 0.2 * seed, frames)
            for name, mean in {"none": 40.0, **means}.items()
            for seed in range(of_none if name == "none" else seeds)
        ]
        return "\n".join(answers(sections(leaderboard(made))))

    return tell


def test_one_seed_answers_nothing_and_says_what_would(told):
    text = told(1, 1, kd=45.0)
    assert "kd gains +5.0 BEV mAP (95 % " in text and "(1 seed against 1 of none)" in text
    assert "one seed answers nothing yet" in text and "--methods kd --seeds 5" in text


def test_several_seeds_tell_noise_from_gains(told):
    assert "Both are more than noise." in told(4, 6, kd=50.0)
    text = told(4, 6, kd=50.0, at=40.0)
    assert "Both are more than noise when all 2 methods are looked at." in text
    assert "None of it is more than noise." in told(4, 6, kd=40.1)
    assert "(4 seeds against 6 of none)" in told(4, 6, kd=50.0)


def test_of_many_methods_the_best_is_told(told):
    text = told(2, 2, a=41.0, b=42.0, c=45.0, d=43.0)
    assert text.count(" gains ") == 1 and "the best of 4 methods, c gains +5.0" in text
    assert told(2, 2, a=41.0, b=42.0).count(" gains ") == 2


def test_without_gains_there_is_nothing_to_say(told):
    assert told(2, 2) == ""


def test_without_drawn_frames_nothing_is_said_of_noise(told):
    text = told(2, 2, frames=False, kd=45.0)
    assert "gains +5.0 BEV mAP and" in text and "cannot be told" in text
    assert "more than noise" not in text
