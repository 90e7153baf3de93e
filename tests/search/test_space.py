"""Sweep files' parameters as Optuna's distributions."""

import pytest

pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ffbench.search.space import Space, distribution


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"values": [64, None, [1, 2], 64]}, CategoricalDistribution(["64", "null", "[1,2]"])),
        ({"min": 1, "max": 9}, IntDistribution(1, 9)),
        ({"min": 0.2, "max": 1}, FloatDistribution(0.2, 1.0)),
        (
            {"min": 1e-3, "max": 1.0, "distribution": "log_uniform_values"},
            FloatDistribution(1e-3, 1.0, log=True),
        ),
        (
            {"min": 10, "max": 70, "q": 16, "distribution": "q_uniform"},
            IntDistribution(16, 64, step=16),
        ),
        (
            {"min": 0.0, "max": 1.1, "q": 0.25, "distribution": "q_uniform"},
            FloatDistribution(0.0, 1.0, step=0.25),
        ),
    ],
)
def test_distributions(spec: dict, expected: object) -> None:
    assert distribution(spec) == expected


def test_overrides_keep_the_files_order_and_round_logarithmic_steps() -> None:
    space = Space(
        {
            "rank": {"min": 10, "max": 250, "q": 16, "distribution": "q_log_uniform_values"},
            "model": {"value": "tiny_llama"},
            "a": {"min": 0.0, "max": 1.0},
        }
    )
    assert list(space.distributions) == ["rank", "a"]
    for drawn, rank in ((10.0, 16), (39.9, 32), (249.0, 240), (41.0, 48)):
        words = space.overrides({"a": 0.1, "rank": drawn})
        assert words == [f"rank={rank}", "model=tiny_llama", "a=0.1"]


def test_corners_hold_every_value_and_both_bounds() -> None:
    space = Space(
        {"a": {"min": 0.0, "max": 1.0}, "b": {"values": ["x", "y", "z"]}, "c": {"value": 3}}
    )
    corners = space.corners()
    assert len(corners) == 4
    words = {word for corner in corners for word in corner}
    assert words == {"a=0.0", "a=1.0", "b=x", "b=y", "b=z", "c=3"}
