"""Seconds by stage at the end of a command."""

from ffanalysis.costs import cost_line


def test_shared_stages_count_once_and_the_dearest_is_first() -> None:
    runs = [
        {"fit": 10.25, "speed": 20.0, "load": 0.1},
        {"fit": 10.25, "speed": 25.0, "tune": None},
    ]
    assert cost_line(runs) == "seconds by stage: speed 20 + 25, fit 10; 55 in all."


def test_nothing_to_tell() -> None:
    assert cost_line([{}, {"load": 0.1, "fit": None}]) == ""
