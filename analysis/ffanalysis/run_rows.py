"""What one run's result gives to each column of a frame."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ffanalysis import settings
from ffanalysis.columns import LOSSES, METHOD, TAIL_VALUES
from ffanalysis.run_folders import read_optional
from ffbench.runs.legacy import processor
from ffbench.runs.schema import (
    FidelityFields,
    PromptFidelity,
    RunResult,
    SpeedRatio,
    TailFidelity,
)
from ffbench.runs.score_fields import LossFields


def named(result: RunResult) -> dict[str, Any]:
    """The columns that name a run in every frame, and its methods' parameters by dotted name."""
    return {name: getattr(result, name) for name in METHOD} | settings.parameter_columns(result)


def losses(fields: LossFields | None) -> dict[str, Any]:
    """Loss columns. A result of before has both NLLs but not their difference; no interval then."""
    if fields is None:
        return {}
    row = {name: value for name, value in asdict(fields).items() if name in LOSSES}
    nll, dense = fields.nll, fields.nll_dense
    if fields.nll_increase_abs is None and nll is not None and dense:
        row |= {"nll_increase_abs": nll - dense, "nll_increase_rel": (nll - dense) / dense}
    return row


def gold_values(result: RunResult) -> dict[str, Any]:
    """Gold likelihoods over all tasks, also those that are outside the means of scores."""
    if result.gold is None or result.gold.task_mean is None:
        return {}
    return asdict(result.gold.task_mean) | {"n_gold": result.gold.n}


def tail_values(tail: str, value: TailFidelity | PromptFidelity) -> dict[str, Any]:
    """Fidelity of one tail, or of the prompt, under names of the frame `runs`."""
    known = asdict(value)
    row = {f"windows_{tail}": known.get("n"), f"ppl_ratio_{tail}": known.get("ppl_ratio")}
    for field, short in TAIL_VALUES.items():
        row |= {
            f"{short}_{tail}{end}": known[field + end]
            for end in ("", "_low", "_high", "_worst")
            if field + end in known
        }
    return {name: number for name, number in row.items() if number is not None}


def fidelity_values(fields: FidelityFields | None) -> dict[str, Any]:
    """Fidelity columns of the frame `runs`."""
    if fields is None:
        return {}
    row: dict[str, Any] = {"flops_used": fields.flops_used}
    for tail, value in fields.tails.items():
        row |= tail_values(tail, value)
    return row | (tail_values("prompt", fields.prompt) if fields.prompt else {})


def speed_values(prefix: str, ratio: SpeedRatio | None) -> dict[str, Any]:
    """One speedup under names of the frame `runs`."""
    if ratio is None:
        return {}
    names = ("p20", "p80", "dense_s", "tokens", "processes")
    return (
        {f"{prefix}_speedup": ratio.ratio}
        | {f"{prefix}_{name}": getattr(ratio, name) for name in names}
        | {f"{prefix}_own_dense": ratio.own_dense_ratio}
    )


def ffn_share(ffn: SpeedRatio | None, ttft: Sequence[SpeedRatio]) -> float | None:
    """The FFNs' share of a dense prefill, at the length at which they were timed."""
    if ffn is None or not ttft or not ffn.dense_s or not ttft[0].dense_s:
        return None
    return ffn.dense_s / ttft[0].dense_s


def run_row(result: RunResult, folder: Path, commands: Mapping[str, str]) -> dict[str, Any]:
    """One run as one row; what was not measured is missing."""
    row = named(result) | losses(result.mean) | gold_values(result)
    row |= fidelity_values(result.fidelity)
    row |= {
        "scorer_failures": result.scorer_failures,
        "density_used": result.density_used,
        "recall_at_k": result.recall_at_k,
        "retained_energy": result.retained_energy,
        "per_token": bool(result.speed_reason),
        "seconds": sum(value for value in result.cost.values() if value is not None),
    }
    if result.flops:
        row |= {
            f"flops_{name}": getattr(result.flops, name)
            for name in ("ratio", "selector", "compensator")
        }
    row |= origin(folder, commands)
    speed = result.speed
    if speed:
        row |= speed_values("ffn", speed.ffn)
        row |= speed_values("ttft", speed.ttft[0] if speed.ttft else None)
        row |= {"ffn_share": ffn_share(speed.ffn, speed.ttft)}
        if wide := speed.wide:
            row |= speed_values("wide", wide.ttft[0] if wide.ttft else None)
            row |= {"wide_shape": wide.shape, "wide_ffn_share": ffn_share(wide.ffn, wide.ttft)}
        names = ("threads", "cpu", "instruction_set", "backend", "busy")
        row |= {name: getattr(speed, name) for name in names if getattr(speed, name) is not None}
    return row


def origin(folder: Path, commands: Mapping[str, str]) -> dict[str, Any]:
    """Machine, commit, start and command of a run; missing if its provenance was not copied."""
    known = read_optional(folder / "provenance.json")
    command = shlex.join(known.get("command") or []) or None
    return {
        "threads": (known.get("threads") or {}).get("torch"),
        "cpu": processor(known.get("cpu")),
        "gpu": known.get("gpu"),
        "instruction_set": known.get("instruction_set"),
        "git_sha": known.get("git_sha"),
        "git_dirty": known.get("git_dirty"),
        "started": known.get("started"),
        "command": commands.get(folder.name, command),
    }
