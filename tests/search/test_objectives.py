"""Objectives of a result, with their intervals."""

import numpy as np
import pytest

from ffbench.search.objectives import Measured, Objective, answer_kl

RESULT = {
    "sparsity": 0.5,
    "fidelity": {
        "flops_used": 0.7,
        "tails": {"copy": {"kl": 0.25, "kl_low": 0.2, "kl_high": 0.3}},
        "rows": [
            {"text": "prose", "document": "d", "context": 8, "tail": tail, "kl": kl}
            for tail, kl in (("copy", 0.3), ("continuation", 0.1), ("prompt", 9.0))
        ],
    },
    "speed": {"ttft": [{"ratio": 1.25, "p20": 1.0, "p80": 2.0}, {"ratio": 3.0}]},
    "flops": {"ratio": 0.6},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("time", (0.8, 0.5, 1.0)),
        ("flops", (0.7, 0.7, 0.7)),
        ("fidelity/tails/copy/kl", (0.25, 0.2, 0.3)),
        ("flops/ratio", (0.6, None, None)),
        ("objective", (0.85, None, None)),
    ],
)
def test_values_and_intervals(name: str, expected: tuple) -> None:
    found = Objective(name).of(RESULT)
    assert found is not None and (found.value, found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["answer_kl", "time", "flops", "objective", "fidelity/none/kl", "sparsity/x"]
)
def test_what_was_not_measured_has_no_value(name: str) -> None:
    assert Objective(name).of({"sparsity": 0.5, "fidelity": None, "speed": None}) is None


def test_dense_is_its_own_reference() -> None:
    values = [Objective(name).of({"sparsity": 0}) for name in ("answer_kl", "time", "flops")]
    assert [value.value for value in values if value] == [0, 1, 1]


def test_the_live_metric_has_the_interval_of_its_kl() -> None:
    spread = np.random.default_rng(0).gamma(2.0, 0.1, 12)
    rows = [
        {"text": "prose", "document": str(number), "context": 8, "tail": "copy", "kl": kl}
        for number, kl in enumerate(spread)
    ]
    fidelity = {"rows": rows, "tails": {"copy": {"kl": float(spread.mean())}}}
    result = {"sparsity": 0.5, "fidelity": fidelity, "flops": {"ratio": 0.6}}
    kl, whole = (Objective(name).of(result) for name in ("answer_kl", "objective"))
    assert kl is not None and whole is not None
    for name in ("value", "low", "high"):
        assert getattr(whole, name) == pytest.approx(getattr(kl, name) + 0.6)
    assert whole.units == {unit: value + 0.6 for unit, value in kl.units.items()}


def test_answer_kl_counts_texts_and_documents_the_same_and_leaves_the_prompt_out() -> None:
    found = Objective("answer_kl").of(RESULT)
    assert found is not None and found.value == pytest.approx(0.2) and found.low is None
    rows = [
        {"text": text, "document": name, "context": context, "tail": "copy", "kl": kl}
        for text, name, context, kl in (
            ("prose", "a", 1, 0.1),
            ("prose", "a", 2, 0.3),
            ("prose", "b", 1, 0.6),
            ("code", "c", 1, 1.0),
        )
    ]
    found = answer_kl(rows)
    assert found is not None
    assert found.value == pytest.approx(np.mean([np.mean([0.2, 0.6]), 1.0]))
    assert len(found.units) == 4


def test_texts_of_values() -> None:
    assert Measured(0.123456, 0.1, 0.2).text() == "0.1235 (0.1 to 0.2)"
    assert Measured(0.7, 0.7, 0.7).text() == Measured(0.7).text() == "0.7"
