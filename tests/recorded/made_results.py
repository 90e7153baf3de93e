"""Made-up results of one run: simple formulas with seeded noise (see make_recorded.py)."""

import random
from math import exp
from typing import Any

MODEL, CPU, SHA = "recorded_model", "test recording", "0" * 40
LAYERS, LENGTHS = 8, (512, 1024, 2048, 4096, 8192)
KL = {
    "oracle": 0.32,
    "trained": 0.44,
    "static": 0.50,
    "griffin previous": 0.66,
    "griffin first": 0.71,
    "weight_norm": 1.4,
    "random": 2.1,
    "probe": 0.52,
    "wina_rule": 0.3,
}
WORSE = {"surrogate": 1.0, "surrogate tuned": 0.6, "lowrank": 1.1, "bias": 1.6, "none": 1.8}
PARAMETERS: dict[str, dict[str, Any]] = {
    "griffin previous": {"block": "previous"},
    "griffin first": {"block": "first"},
    "static": {"statistic": "residual"},
    "probe": {"choice": "spaced", "share": 0.03125, "prior_tokens": 8.0},
    "surrogate": {"rank": 128, "output_map_rank": 0, "tune_steps": 0},
    "surrogate tuned": {"rank": 128, "output_map_rank": 104, "tune_steps": 120},
    "lowrank": {"rank": 128},
    "token_mixing": {"mass": "others", "floor": 0.5},
}
METHODS, UNTIMED = ("selector", "compensator", "scheduler"), ("oracle", "wina_rule")
TEXTS, CONTEXTS, DOCUMENTS = ("prose", "code"), (512, 1536), 8
# KL of a tail over KL at the prompt's own positions
TAIL_SHARE = {"continuation": 0.07, "copy": 0.4}
SCHEDULE = {"uniform": 1.0, "token_mixing": 0.92, "sensitivity": 0.85}
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
DEFAULTS: dict[str, Any] = {
    "selector": "trained",
    "compensator": "surrogate",
    "scheduler": "uniform",
    "block_size": 128,
    "sparsity": 0.5,
    "hot_fraction": 0.0,
    "group_size": 1,
    "task": "embedded",
    "seed": 0,
}


def losses(dense: float, loss: float, n: int, draw: random.Random) -> dict[str, Any]:
    """Losses of a task around a mean loss in points."""
    half = 1.96 * 30 / n**0.5 * 0.6
    loss += draw.gauss(0, half / 4)
    figures: dict[str, Any] = {
        "n": n,
        "score": dense - loss,
        "score_dense": dense,
        "loss_abs": loss,
        "loss_abs_low": loss - half,
        "loss_abs_high": loss + half,
    }
    figures |= {
        f"loss_rel{end}": figures[f"loss_abs{end}"] / dense for end in ("", "_low", "_high")
    }
    gain = max(0.0, loss) / 40
    gains = {
        "nll_increase_abs": gain,
        "nll_increase_abs_low": gain - 0.03,
        "nll_increase_abs_high": gain + 0.04,
    }
    gains |= {
        f"nll_increase_rel{end}": gains[f"nll_increase_abs{end}"] / 1.2
        for end in ("", "_low", "_high")
    }
    gains |= {
        f"ppl_ratio{end}": exp(gains[f"nll_increase_abs{end}"]) for end in ("", "_low", "_high")
    }
    return figures | gains | {"nll_dense": 1.2, "nll": 1.2 + gain}


def none_lost(figures: dict[str, Any]) -> dict[str, Any]:
    """The losses of a dense run against itself."""
    zeros = {name: 0.0 for name in figures if name.startswith(("loss", "nll_increase"))}
    zeros |= dict.fromkeys(("ppl_ratio", "ppl_ratio_low", "ppl_ratio_high"), 1.0)
    return figures | zeros | {"score": figures["score_dense"], "nll": figures["nll_dense"]}


def task_figures(s: dict[str, Any], kl: float, draw: random.Random) -> dict[str, Any]:
    """Losses of every task, their groups and their mean."""
    tasks: dict[str, Any] = {}
    for name, (category, dense, *chance) in (
        EMBEDDED if s["task"] == "embedded" else LONGBENCH
    ).items():
        one = losses(dense, dense * 0.15 * kl, 24, draw)
        one |= {
            "metric": "edit_similarity" if category == "code" else "f1",
            "category": category,
            "chance": chance[0] if chance else 0.0,
            "headline": name != "passage_count",
            "truncated": 3,
            "tokens_cut": 800.0,
        }
        tasks[name] = one if s["sparsity"] else none_lost(one)
    found = {"tasks": tasks, "mean": average([one for one in tasks.values() if one["headline"]])}
    if s["task"] == "embedded":
        return found | {"categories": None, "buckets": None}
    by_category: dict[str, list[dict[str, Any]]] = {}
    for one in tasks.values():
        by_category.setdefault(one["category"], []).append(one)
    buckets = {}
    for number, bucket in enumerate(("0-4k", "4-8k", "8k+")):
        one = losses(30.0 - 2 * number, 30 * (0.06 + 0.05 * number) * kl, 70, draw)
        buckets[bucket] = one if s["sparsity"] else none_lost(one)
    return found | {
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


def tail(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fidelity of the windows `rows`; intervals are a plausible share of the mean."""
    kl = sum(row["kl"] for row in rows) / len(rows)
    increase = sum(row["nll_sparse"] - row["nll_dense"] for row in rows) / len(rows)
    return {
        "n": len(rows),
        "kl": kl,
        "kl_low": kl * 0.88,
        "kl_high": kl * 1.14,
        "kl_worst": max(row["kl"] for row in rows),
        "nll_dense": 2.0,
        "nll_increase": increase,
        "nll_increase_low": increase * 0.8,
        "nll_increase_high": increase * 1.25,
        "nll_increase_worst": max(row["nll_sparse"] - row["nll_dense"] for row in rows),
        "top1_agreement": sum(row["top1_agreement"] for row in rows) / len(rows),
    }


def windows(kl: float, draw: random.Random) -> list[dict[str, Any]]:
    """One row per text, document, context and tail; longer contexts lose more."""
    rows = []
    for text in TEXTS:
        for number in range(DOCUMENTS):
            for context in CONTEXTS:
                for name, share in TAIL_SHARE.items():
                    value = kl * share * (context / 1024) ** 0.2 * draw.uniform(0.7, 1.3)
                    rows.append(
                        {
                            "text": text,
                            "document": f"{text}-{number}",
                            "context": context,
                            "tail": name,
                            "tokens": 255,
                            "kl": value,
                            "nll_dense": 2.0,
                            "nll_sparse": 2.0 + 1.2 * value,
                            "top1_agreement": 1 / (1 + value),
                        }
                    )
    return rows


def fidelity(kl: float, draw: random.Random) -> dict[str, Any]:
    """Fidelity by tail, text and context, and at the prompt's own positions."""
    rows = windows(kl, draw)

    def tails(**only: Any) -> dict[str, Any]:
        chosen = [row for row in rows if all(row[name] == value for name, value in only.items())]
        return {name: tail([row for row in chosen if row["tail"] == name]) for name in TAIL_SHARE}

    return {
        "contexts": list(CONTEXTS),
        "tails": tails(),
        "by_text": {text: tails(text=text) for text in TEXTS},
        "by_context": {str(context): tails(context=context) for context in CONTEXTS},
        "prompt": prompt(kl),
        "density_used": 0.6,
        "flops_used": 0.65,
        "rows": rows,
    }


def prompt(kl: float) -> dict[str, Any]:
    """Fidelity at the prompt's own positions."""
    return {
        "n": 2 * DOCUMENTS,
        "kl": kl,
        "kl_low": kl * 0.88,
        "kl_high": kl * 1.14,
        "top1_agreement": 1 / (1 + kl),
        "ppl_ratio": 1 + kl,
        "ppl_dense": 8.1,
    }


def speed(s: dict[str, Any], ratio: float, draw: random.Random) -> dict[str, Any]:
    """FFN and TTFT times: an FFN share that falls with length, and a fixed cost of each block."""
    efficiency = (
        0.72
        + 0.1 * (s["block_size"] / 128 - 1) / (s["block_size"] / 128 + 1)
        + (0.12 if s["group_size"] > 1 else 0)
    )
    ffn = efficiency / ratio

    def one(tokens: int, value: float, dense: float) -> dict[str, Any]:
        value += draw.gauss(0, 0.005)
        return {
            "tokens": tokens,
            "ratio": value,
            "p20": value - 0.02,
            "p80": value + 0.03,
            "dense_s": dense,
            "sparse_s": dense / value,
            "rounds": 9,
            "processes": 3,
            "own_dense_ratio": None,
        }

    def ttft(tokens: int) -> dict[str, Any]:
        dense_ffn, other = tokens * 1.2e-3, tokens * 1.1e-3 + tokens**2 * 1.2e-7
        blocks = tokens / s["block_size"]
        sparse_ffn = (
            dense_ffn * ((blocks - 2) / ffn + 2) / blocks + 0.02 if blocks > 2 else dense_ffn + 0.02
        )
        return one(tokens, (dense_ffn + other) / (sparse_ffn + other), dense_ffn + other)

    return {
        "ffn": one(2048, ffn, 2048 * 1.2e-3),
        "ttft": [ttft(2048), *(ttft(n) for n in LENGTHS if n != 2048)],
        "threads": 2,
        "cpu": CPU,
        "instruction_set": "avx2",
        "backend": "native",
        "load_before": 0.1,
        "load_after": 0.9,
        "busy": False,
    }


def layers(s: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    """Selection by layer; a scheduler gives the later layers less."""
    slope = {"uniform": 0.0, "token_mixing": 0.25, "sensitivity": 0.4}[s["scheduler"]]
    quality = {"oracle": 1.0}.get(s["selector"], 1 - 0.3 * KL[s["selector"]] / 1.5)
    rows = []
    for layer in range(LAYERS):
        place = layer / (LAYERS - 1) - 0.5
        density = min(1.0, max(0.05, (1 - s["sparsity"]) * (1 - slope * place)))
        recall = (
            1.0
            if quality == 1
            else min(0.98, quality * (0.85 + 0.15 * (place + 0.5)) + draw.gauss(0, 0.01))
        )
        rows.append(
            {
                "layer": layer,
                "kept": round(1536 * density),
                "density": density,
                "recall_at_k": recall,
                "retained_energy": 1 - (1 - recall) / 4,
                "token_mixing": 0.6 - 0.4 * place + draw.gauss(0, 0.03),
            }
        )
    return rows


def result(key: str, s: dict[str, Any]) -> dict[str, Any]:
    """The result.json of one run."""
    draw = random.Random(key)
    kl = (
        KL[s["selector"]]
        * WORSE[s["compensator"]]
        * SCHEDULE[s["scheduler"]]
        * (s["sparsity"] / 0.5) ** 2
    )
    kl *= (
        (s["block_size"] / 128) ** 0.2
        * (1.12 if s["group_size"] > 1 else 1)
        * (1 + 0.1 * s["hot_fraction"])
    )
    head = {
        "schema_version": 2,
        "run_key": key,
        "model": MODEL,
        "dtype": "float32",
        "device": "cpu",
        "sparsity": s["sparsity"],
        "task": s["task"],
        "protocol": "whole",
        "chat_template": None,
        "seed": s["seed"],
    }
    dense_names = dict.fromkeys(("selector", "compensator", "scheduler"), "dense")
    unmeasured = dict.fromkeys(
        (
            "block_size",
            "hot_fraction",
            "group_size",
            "fidelity",
            "speed",
            "density_used",
            "recall_at_k",
            "retained_energy",
            "layers",
            "flops",
        )
    )
    tasks = task_figures(s, kl, draw)
    if not s["sparsity"]:
        return (
            head
            | dense_names
            | unmeasured
            | tasks
            | {"cost": {"answers": 80.0}, "dense_answers": "recorded"}
        )
    by_layer, ratio = (
        layers(s, draw),
        1 - s["sparsity"] + (0.0 if s["compensator"] == "none" else 0.09),
    )
    means = {
        name: sum(row[name] for row in by_layer) / LAYERS
        for name in ("recall_at_k", "retained_energy")
    }
    return (
        head
        | {name: s[name].split()[0] for name in METHODS}
        | {name: s[name] for name in ("block_size", "hot_fraction", "group_size")}
        | means
        | tasks
        | {
            "parameters": {name: PARAMETERS.get(s[name], {}) for name in METHODS},
            "blocks": "consecutive",
            "calibration_text": "embedded",
            "objective": {"continuation": 1.0, "copy": 1.0, "full": 0.0},
            "fidelity": fidelity(kl, draw),
            "speed": speed(s, ratio, draw) if s["selector"] not in UNTIMED else None,
            "speed_reason": "chooses per token" if s["selector"] == "wina_rule" else None,
            "density_used": 1 - s["sparsity"] * 0.875,
            "layers": by_layer,
            "flops": {
                "ratio": ratio,
                "ideal": 1 - s["sparsity"],
                "selector": 0.003,
                "compensator": ratio - 1 + s["sparsity"],
            },
            "cost": {"fit": 120.0, "evaluate": 95.0, "speed": 50.0},
            "dense_answers": "recorded",
        }
    )
