"""What orchestration costs compared with the work: composing, keys, store, tracking, a done sweep.

python benchmarks/overhead.py --out benchmarks/results/overhead.json

The parts are measured one by one with the default settings. The first composition of a process is
the median of five processes; each other part is the worst of five rounds, since the first round
hashes the weights, asks git and starts W&B's service. They are compared with the stages that a run
of the default sweep computes for itself when everything shared is cached: the shortest run there
is. Those seconds come from the runs in benchmarks/results/default. The done sweep has 200 jobs of
the default model, whose folders are made here from one of those results; it is timed as a process
of its own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from ffbench.cli.errors import guarded
from ffbench.runs.provenance import cpu_name, git_state

ROUNDS = 5
JOBS = 200
OWN = ("selection", "fidelity", "speed", "evaluate")
RECORDED = Path(__file__).parent / "results" / "default"
FIRST = """
import time
start = time.perf_counter()
from ffbench.cli.compose import jobs_of
jobs_of([])
print(time.perf_counter() - start)
"""


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process without a W&B account."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("WANDB_")
    } | more


def first_composition() -> float:
    """Seconds until a fresh process has its one job composed, Hydra's import included."""

    def once() -> float:
        done = subprocess.run(
            [sys.executable, "-c", FIRST],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    return median(once() for _ in range(ROUNDS))


def recorded() -> list[dict[str, Any]]:
    """Results of the recorded runs that have a plan."""
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RECORDED.glob("runs/*/result.json"))
    ]
    return [result for result in results if result["sparsity"] > 0]


def store_costs(folder: Path, answers: int) -> dict[str, float]:
    """Seconds of a run's key, its folder (provenance, answers, result), its pictures and its mirror
    in W&B, offline.
    """
    from ffbench.cli.compose import jobs_of
    from ffbench.cli.pictures import draw_run
    from ffbench.experiment.stages import run_key
    from ffbench.runs.provenance import collect
    from ffbench.runs.store import RunStore
    from ffbench.tracking.mirror import mirror
    from ffbench.tracking.open import open_tracker

    settings = jobs_of([f"output_dir={folder}"])[0].settings
    config, result = asdict(settings), recorded()[0]
    parts: dict[str, list[float]] = {"keys": [], "store": [], "pictures": [], "tracking": []}
    for number in range(ROUNDS):
        begin = time.perf_counter()
        run_key(settings)
        parts["keys"].append(time.perf_counter() - begin)
        run = RunStore(folder).folder(f"{number:016x}")
        begin = time.perf_counter()
        run.start(config, collect(["python", "-m", "ffbench"]))
        for record in range(answers):
            run.answer_log.append(
                {
                    "task": "embedded_code",
                    "record_id": str(record),
                    "prediction": "x" * 200,
                    "score": 50.0,
                }
            )
        run.finish(result)
        parts["store"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        draw_run(run.path)
        parts["pictures"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        tracker = open_tracker(settings.tracker, run.run_key, config, run.path)
        mirror(tracker, run)
        tracker.finish("done")
        parts["tracking"].append(time.perf_counter() - begin)
    return {name: max(values) for name, values in parts.items()}


def done_sweep(folder: Path) -> dict[str, float]:
    """Seconds of a sweep of 200 jobs that are all done, and of its dry run."""
    from ffbench.cli.compose import jobs_of
    from ffbench.experiment.stages import run_key

    overrides = [f"seed=range(0,{JOBS})", f"output_dir={folder}"]
    for job in jobs_of(overrides):
        run = folder / "runs" / run_key(job.settings)
        shutil.copytree(RECORDED / "runs" / recorded()[0]["run_key"], run)
        result = json.loads((run / "result.json").read_text(encoding="utf-8")) | {
            "run_key": run.name
        }
        (run / "result.json").write_text(json.dumps(result), encoding="utf-8")

    def whole(*more: str) -> float:
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "ffbench", *overrides, *more],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "-> " not in done.stderr and done.stdout.count("\n") >= JOBS, done.stderr
        return time.perf_counter() - begin

    return {"jobs": JOBS, "sweep_s": whole(), "dry_run_s": whole("--dry-run")}


def measure() -> dict[str, Any]:
    """Every measurement."""
    results = recorded()
    answers = sum(task["n"] for task in results[0]["tasks"].values())
    work = min(sum(result["cost"][stage] for stage in OWN) for result in results)
    with tempfile.TemporaryDirectory() as folder:
        parts = {"compose": first_composition()} | store_costs(Path(folder) / "one", answers)
        sweep = done_sweep(Path(folder) / "many")
    total = sum(parts.values())
    return {
        "parts_s": parts,
        "total_s": total,
        "run_s": work,
        "share": total / work,
        "answers": answers,
        "run_cpu": results[0]["speed"]["cpu"],
        "run_keys": [result["run_key"] for result in results],
        "done": sweep,
        "cpu": cpu_name(),
        "threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),
        "git_sha": git_state()[0],
    }


def main() -> int:
    """Measure and print; write the JSON to --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"WANDB_MODE": "offline"}
    text = json.dumps(measure(), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
