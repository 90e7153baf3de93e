"""Speed over several fresh processes: a speedup repeats only if it does so from process to
process.
"""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench.evaluation.speed import PrefillTimes, prefill_times
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.plan_files import plan_settings
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.random_models import build_shape, random_plan
from ffkernels.host_memory import keep_freed_memory

MODULE = "ffbench.evaluation.speed_processes"


class SpeedError(RuntimeError):
    """A measuring process failed; the text holds its last words."""


def run_worker(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure in this process; `request` as `measured_in_processes` or `measured_at_shape` writes
    it. The process keeps the memory that it frees.
    """
    keep_freed_memory()
    if "shape" in request:
        model = build_shape(request["shape"], request["dtype"], layers=request["layers"])
        model = model.to(request["device"])
        plan = random_plan(model, plan_settings(request["plan"]))
    else:
        model, _ = load_model(ModelSpec(**request["model"]))
        plan = SparsePlan.load(request["plan"])
    ids = None if request["ids"] is None else torch.tensor(request["ids"])
    times = prefill_times(
        model,
        plan,
        request["lengths"],
        request["rounds"],
        request["threads"],
        request["backend"],
        ids,
    )
    return [asdict(one) for one in times]


def measured_in_processes(
    spec: ModelSpec,
    plan: Path,
    *,
    lengths: list[int],
    rounds: int,
    threads: int,
    backend: str,
    processes: int,
    ids: Tensor | None,
) -> list[list[PrefillTimes]]:
    """Times of each of `processes` fresh processes, one after the other, by prompt length.

    Raises SpeedError if one fails.
    """
    request = {
        "model": asdict(spec),
        "plan": str(plan),
        "lengths": lengths,
        "rounds": rounds,
        "threads": threads,
        "backend": backend,
        "ids": None if ids is None else ids.tolist(),
    }
    return [in_process(request) for _ in range(processes)]


def measured_at_shape(
    shape: str,
    settings: PlanSettings,
    *,
    layers: int,
    dtype: str,
    device: str,
    lengths: list[int],
    rounds: int,
    threads: int,
    backend: str,
) -> list[PrefillTimes]:
    """Times by prompt length in a fresh process: `layers` layers of a published shape with random
    weights, a random plan of `settings`, and random ids.

    Raises SpeedError if the process fails.
    """
    return in_process(
        {
            "shape": shape,
            "plan": settings.as_dict(),
            "layers": layers,
            "dtype": dtype,
            "device": device,
            "lengths": lengths,
            "rounds": rounds,
            "threads": threads,
            "backend": backend,
            "ids": None,
        }
    )


def in_process(request: dict[str, Any]) -> list[PrefillTimes]:
    """Times of one fresh process. Raises SpeedError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise SpeedError(f"speed: a measuring process failed: {last}")
    rows = json.loads(done.stdout.splitlines()[-1])
    return [PrefillTimes(**row) for row in rows]


def combined(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Metrics of one length over processes: medians, and the bracket between processes."""
    if len(rows) == 1:
        return rows[0]
    ratios = sorted(row["ratio"] for row in rows)
    return {
        "tokens": rows[0]["tokens"],
        "ratio": statistics.median(ratios),
        "p20": ratios[0],
        "p80": ratios[-1],
        "dense_s": statistics.median(row["dense_s"] for row in rows),
        "sparse_s": statistics.median(row["sparse_s"] for row in rows),
        "rounds": rows[0]["rounds"],
        "processes": len(rows),
        "own_dense_ratio": statistics.median(row["own_dense_ratio"] for row in rows),
    }


def speed_metrics(runs: list[list[PrefillTimes]]) -> dict[str, Any]:
    """Speed fields `ffn` (at the first length) and `ttft` (at each) over processes."""
    by_length = list(zip(*runs, strict=True))
    return {
        "ffn": combined([one.metrics(one.ffn) for one in by_length[0]]),
        "ttft": [combined([one.metrics(one.prefill) for one in times]) for times in by_length],
    }


if __name__ == "__main__":
    print(json.dumps(run_worker(json.load(sys.stdin))))
