"""Made-up losses of tasks: simple formulas with seeded noise (see make_recorded.py)."""

import random
from math import exp
from typing import Any

EMBEDDED = {"embedded_code": ("code", 62.0, 38.0), "embedded_retrieval": ("retrieval", 46.0, 16.7)}
LONGBENCH = {
    "qasper": ("single-document", 21.0),
    "multifieldqa_en": ("single-document", 33.0),
    "hotpotqa": ("multi-document", 18.0),
    "2wikimqa": ("multi-document", 20.0),
    "gov_report": ("summarisation", 24.0),
    "trec": ("few-shot", 46.0),
    "triviaqa": ("few-shot", 51.0),
    "passage_count": ("synthetic", 3.0),
    "lcc": ("code", 41.0),
}


def losses(dense: float, loss: float, n: int, draw: random.Random) -> dict[str, Any]:
    """Losses of a task around a mean loss in points."""
    half = 1.96 * 30 / n**0.5 * 0.6
    loss += draw.gauss(0, half / 4)
    metrics: dict[str, Any] = {
        "n": n,
        "score": dense - loss,
        "score_dense": dense,
        "loss_abs": loss,
        "loss_abs_low": loss - half,
        "loss_abs_high": loss + half,
    }
    metrics |= {
        f"loss_rel{end}": metrics[f"loss_abs{end}"] / dense for end in ("", "_low", "_high")
    }
    increase = max(0.0, loss) / 40
    increases = {
        "nll_increase_abs": increase,
        "nll_increase_abs_low": increase - 0.03,
        "nll_increase_abs_high": increase + 0.04,
    }
    increases |= {
        f"nll_increase_rel{end}": increases[f"nll_increase_abs{end}"] / 1.2
        for end in ("", "_low", "_high")
    }
    increases |= {
        f"gold_ppl_ratio{end}": exp(increases[f"nll_increase_abs{end}"])
        for end in ("", "_low", "_high")
    }
    return metrics | increases | {"nll_dense": 1.2, "nll": 1.2 + increase}


def none_lost(metrics: dict[str, Any]) -> dict[str, Any]:
    """The losses of a dense run against itself."""
    zeros = {name: 0.0 for name in metrics if name.startswith(("loss", "nll_increase"))}
    zeros |= dict.fromkeys(("gold_ppl_ratio", "gold_ppl_ratio_low", "gold_ppl_ratio_high"), 1.0)
    return metrics | zeros | {"score": metrics["score_dense"], "nll": metrics["nll_dense"]}


def task_metrics(s: dict[str, Any], kl: float, draw: random.Random) -> dict[str, Any]:
    """Losses of every task, their groups and their mean."""
    tasks: dict[str, Any] = {}
    for name, (category, dense, *chance) in (
        EMBEDDED if s["task"] == "embedded" else LONGBENCH
    ).items():
        row = losses(dense, dense * 0.15 * kl, 24, draw)
        row |= {
            "metric": "edit_similarity" if category == "code" else "f1",
            "category": category,
            "chance": chance[0] if chance else 0.0,
            "headline": name != "passage_count",
            "truncated": 3,
            "tokens_cut": 800.0,
        }
        tasks[name] = row if s["sparsity"] else none_lost(row)
    metrics = {"tasks": tasks, "mean": average([row for row in tasks.values() if row["headline"]])}
    if s["task"] == "embedded":
        return metrics | {"categories": None, "buckets": None}
    by_category: dict[str, list[dict[str, Any]]] = {}
    for row in tasks.values():
        by_category.setdefault(row["category"], []).append(row)
    buckets = {}
    for number, bucket in enumerate(("0-4k", "4-8k", "8k+")):
        row = losses(30.0 - 2 * number, 30 * (0.06 + 0.05 * number) * kl, 70, draw)
        buckets[bucket] = row if s["sparsity"] else none_lost(row)
    return metrics | {
        "categories": {name: average(group) for name, group in by_category.items()},
        "buckets": buckets,
    }


def average(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of task losses; interval ends shrink with the root of their number."""
    mean = {
        name: sum(row[name] for row in rows) / len(rows)
        for name in rows[0]
        if isinstance(rows[0][name], float) and name not in ("chance", "tokens_cut")
    }
    for end in ("_low", "_high"):
        mean[f"loss_abs{end}"] = (
            mean["loss_abs"] + (mean[f"loss_abs{end}"] - mean["loss_abs"]) / len(rows) ** 0.5
        )
    return (
        mean
        | {
            f"loss_rel{end}": mean[f"loss_abs{end}"] / mean["score_dense"]
            for end in ("", "_low", "_high")
        }
        | {"n": sum(row["n"] for row in rows)}
    )
