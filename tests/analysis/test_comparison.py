"""Two runs compared."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ffanalysis import compare, load

FIRST, SECOND, DENSE = (f"{number:016x}" for number in (6, 7, 1))


def test_records_are_paired_by_task_and_id(copied: Path) -> None:
    for key, shift in ((FIRST, 0.0), (SECOND, 2.0)):
        rows = [
            {"task": "one", "record_id": str(i), "score": 10.0 * i + shift, "nll": 1 + shift}
            for i in range(5)
        ]
        rows += [{"task": "one", "record_id": f"only {key}", "score": 0.0, "nll": 9.0}]
        (copied / "runs" / key / "answers.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    table = compare.paired_records(copied, FIRST, SECOND).set_index("measure")
    assert table["n"].tolist() == [5, 5] and table["unpaired"].tolist() == [2, 2]
    assert (
        table.loc["score", "difference"]
        == table.loc["score", "low"]
        == table.loc["score", "high"]
        == pytest.approx(2.0)
    )
    assert table.loc["nll", "difference"] == pytest.approx(2.0)
    text = compare.compare(copied, FIRST, SECOND)
    assert "one: 20.000 | 22.000, +2.000 (+2.000 to +2.000), n = 5, 2 more in one run only" in text


def test_settings_that_differ_are_named(recorded: Path) -> None:
    text = compare.compare(recorded, FIRST, SECOND)
    assert (
        '  selector.name: "trained" | "static"' in text
        and "  kl_prompt: 0.44 | 0.5" in text
        and "block_size" not in text
    )
    assert text.count(", n = 6") == 4 and text.count(", n = 32") == 4


def test_speedups_of_two_machines_are_told_apart(copied: Path) -> None:
    assert "machines differ" not in compare.compare(copied, FIRST, SECOND)
    path = copied / "runs" / SECOND / "result.json"
    result = json.loads(path.read_text())
    result["speed"]["threads"] = 16
    path.write_text(json.dumps(result))
    text = compare.compare(copied, FIRST, SECOND)
    assert "the machines differ, so do not compare the speedups" in text and "16 thr." in text


def test_windows_are_paired_and_documents_resampled_within_texts(
    copied: Path, change: Callable
) -> None:
    def row(text: str, document: str, context: int, kl: float) -> dict:
        names = {"text": text, "document": document, "context": context, "tail": "copy"}
        return names | {"tokens": 9, "kl": kl, "nll_dense": 1.0, "nll_sparse": 1.0 + kl}

    # the second run is worse by 1 on prose and by 3 on code, whatever the document
    places = [("prose", "a", 512), ("prose", "a", 1536), ("prose", "b", 512), ("code", "c", 512)]
    for number, shift in ((6, 0), (7, 1)):
        rows = [
            row(text, document, context, 0.1 + shift * (3 if text == "code" else 1))
            for text, document, context in places
        ]
        change(number, fidelity={"rows": rows})
    table = compare.paired_windows(copied, FIRST, SECOND).set_index("measure")
    assert table.loc["kl", "n"] == 4 and table.loc["kl", "part"] == "copy"
    # two documents of prose and one of code, equal weight per document: no resampling changes it
    expected = pytest.approx((1 + 1 + 3) / 3)
    assert table.loc["kl", "difference"] == table.loc["kl", "low"] == expected
    assert table.loc["kl", "high"] == table.loc["nll_sparse", "high"] == expected


def test_old_and_new_runs_have_no_windows_in_common_and_say_so(copied: Path) -> None:
    published = Path(__file__).parents[2] / "benchmarks" / "results" / "default" / "runs"
    old = sorted(published.iterdir())[0]
    shutil.copytree(old, copied / "runs" / old.name)
    text = compare.compare(copied, FIRST, old.name)
    assert "No held-out windows in common" in text and "No records in common" in text
    assert '  selector.name: "trained"' not in text  # the old name is converted


def test_a_dense_run_compares_through_the_shared_answers(recorded: Path) -> None:
    text = compare.compare(recorded, DENSE, FIRST)
    assert (
        "  sparsity: 0.0 | 0.5" in text
        and "  kl_prompt: - | 0.44" in text
        and text.count(", n = 6") == 4
    )


def test_without_answers_it_says_so(recorded: Path) -> None:
    assert "No records in common" in compare.compare(recorded, f"{2:016x}", f"{3:016x}")


def test_the_same_run_or_none_is_refused(recorded: Path) -> None:
    with pytest.raises(load.LoadError, match="same run"):
        compare.compare(recorded, FIRST, FIRST)
    with pytest.raises(load.LoadError, match="no result for"):
        compare.compare(recorded, FIRST, "f" * 16)


def test_the_interval_is_near_the_normal_one_on_many_records() -> None:
    gaps = np.random.default_rng(1).normal(1.0, 2.0, 400)
    low, high = compare.interval([gaps])
    # each end of 2,000 resamples has a standard error of 0.06 deviations: three of their difference
    assert low < gaps.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * gaps.std() / 20, rel=0.07)
