"""Means and intervals of fidelity: a document is one unit, at however many contexts it is judged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ffbench.evaluation.bootstrap import interval
from ffbench.evaluation.fidelity import Measured, Row, summary, tail_summary


def rows_of(contexts: tuple[int, ...], documents: int = 6) -> list[Row]:
    """Rows of two texts; at the last context the second text has two documents fewer."""
    generator, rows = np.random.default_rng(0), []
    for text in ("prose", "code"):
        for number in range(documents):
            for context in contexts:
                if text == "code" and context == max(contexts) and number >= documents - 2:
                    continue
                kl, dense, sparse, same = generator.gamma(2.0, size=4)
                rows.append(
                    Row(text, f"{text} {number}", context, "copy", 9, kl, dense, sparse, same)
                )
    return rows


def test_several_contexts_of_a_document_do_not_narrow_its_interval() -> None:
    once = rows_of((512,))
    twice = once + [replace(row, context=1536) for row in once]
    first, second = tail_summary(once, interval), tail_summary(twice, interval)
    assert second.pop("n") == 2 * first.pop("n")
    assert second == pytest.approx(first)
    assert first["kl_low"] < first["kl"] < first["kl_high"]


def test_a_document_counts_the_same_however_often_it_is_judged() -> None:
    rows = rows_of((512, 1024, 1536))
    frame = pd.DataFrame(rows).assign(gap=lambda one: one["nll_sparse"] - one["nll_dense"])
    means = frame.groupby(["text", "document"])[["kl", "gap", "top1_agreement"]].mean()
    expected = means.groupby("text").mean().mean()
    found = tail_summary(rows, interval)
    assert found["kl"] == pytest.approx(expected["kl"])
    assert found["nll_increase"] == pytest.approx(expected["gap"])
    assert found["top1_agreement"] == pytest.approx(expected["top1_agreement"])
    assert found["kl_worst"] == frame["kl"].max() and found["n"] == len(frame)


def test_parts_of_a_summary_are_those_of_their_rows() -> None:
    rows = rows_of((512, 1536))
    prompt = [replace(row, tail="prompt") for row in rows if row.context == 512]
    found = summary(Measured([*rows, *prompt], 3, 4), 0.9, interval)
    assert found["contexts"] == [512, 1536] and found["density_used"] == 0.75
    assert found["tails"]["copy"] == tail_summary(rows, interval)
    at_512 = [row for row in rows if row.context == 512]
    assert found["by_context"]["512"]["copy"] == tail_summary(at_512, interval)
    prose = [row for row in rows if row.text == "prose"]
    assert found["by_text"]["prose"]["copy"] == tail_summary(prose, interval)
    own = found["prompt"]
    gap = found["by_context"]["512"]["copy"]["nll_increase"]
    assert own["n"] == len(prompt) and own["ppl_ratio"] == pytest.approx(np.exp(gap))
