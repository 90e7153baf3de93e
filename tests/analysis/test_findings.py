"""The two sentences at the end of a sweep."""

import pandas as pd
import pytest

from ffanalysis.findings import findings

DENSE = {"model": "m", "sparsity": 0.0}
HALF = DENSE | {
    "sparsity": 0.5,
    "kl_continuation": 0.021,
    "kl_continuation_low": 0.016,
    "kl_continuation_high": 0.026,
    "kl_copy": 0.030,
    "gold_ppl_ratio": 1.1,
    "ttft_speedup": 1.2,
    "ttft_p20": 1.15,
    "ttft_p80": 1.25,
    "calibration_text": "embedded",
}
MORE = HALF | {
    "sparsity": 0.7,
    "kl_copy": 0.3,
    "ttft_speedup": 1.4,
    "ttft_p20": 1.3,
    "ttft_p80": 1.5,
}


WIDE = {
    "wide_shape": "llama3.2-1b",
    "wide_speedup": 1.4,
    "wide_p20": 1.3,
    "wide_p80": 1.5,
    "wide_ffn_share": 0.8,
    "ffn_share": 0.4,
    "flops_used": 0.5,
}


def test_speedups_of_two_machines_are_not_ranked() -> None:
    lossy = MORE | {"kl_continuation": 0.09}
    first, _ = findings(pd.DataFrame([DENSE, HALF | {"cpu": "A"}, lossy | {"cpu": "A"}]))
    assert "70% sparsity" in first
    first, _ = findings(pd.DataFrame([DENSE, HALF | {"cpu": "A"}, lossy | {"cpu": "B"}]))
    assert "50% sparsity" in first


def test_a_wide_shape_is_compared_and_called_random() -> None:
    first, wide, last = findings(pd.DataFrame([DENSE, HALF | WIDE]))
    assert first.startswith("found: ") and last.startswith("try next: ")
    assert "llama3.2-1b with random weights (time only, no accuracy)" in wide
    assert "1.40 (1.30 to 1.50) times as fast" in wide
    # Amdahl: 60% of the time stays, and half of the other 40%
    assert "80% of a dense prefill there and 40% here, which allows about 1.25" in wide


def test_a_wide_shape_without_shares_claims_no_ceiling() -> None:
    _, wide, _ = findings(pd.DataFrame([HALF | WIDE | {"ffn_share": None}]))
    assert wide.endswith("1.40 (1.30 to 1.50) times as fast as dense.")


def said(*rows: dict) -> str:
    return "\n".join(findings(pd.DataFrame(rows)))


def test_the_fastest_run_is_told_with_its_intervals() -> None:
    text = said(DENSE, HALF, MORE)
    assert "m at 70% sparsity: prefill is 1.40 (1.30 to 1.50)" in text
    assert "continuation KL 0.021 (0.016 to 0.026), copy KL 0.300" in text
    assert "retrieval suffers most" in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "calibration.folder"),
        ({"calibration_text": "mine"}, "tune_steps"),
        ({"ttft_p20": 0.9}, "no faster than dense: 1.20"),
        ({"ttft_p20": 0.9}, "shape=llama3.2-1b"),
        ({"busy": True}, "quiet machine"),
        ({"ttft_speedup": None, "ttft_p20": None, "ttft_p80": None}, "speed was not measured"),
    ],
)
def test_the_next_step_follows_from_what_limits_the_run(change: dict, text: str) -> None:
    assert text in said(DENSE, HALF | change)


@pytest.mark.parametrize("rows", [[], [DENSE], [DENSE | {"sparsity": 0.5}]])
def test_nothing_is_said_without_a_measured_sparse_run(rows: list[dict]) -> None:
    assert findings(pd.DataFrame(rows)) == []


def test_dense_speed_alone_is_no_reason_to_fail() -> None:
    speed_only = {k: v for k, v in HALF.items() if not k.startswith(("kl_", "gold"))}
    assert "prefill is 1.20 (1.15 to 1.25) times" in said(DENSE, speed_only)
    slow = speed_only | {"ttft_p20": 0.9}
    assert "no faster than dense" in said(DENSE, slow)
