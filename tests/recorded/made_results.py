"""Made-up results of one run: simple formulas with seeded noise (see make_recorded.py)."""

import random
from typing import Any

from made_fidelity import fidelity
from made_losses import task_metrics

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
SCHEDULE = {"uniform": 1.0, "token_mixing": 0.92, "sensitivity": 0.85}
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
    tasks = task_metrics(s, kl, draw)
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
