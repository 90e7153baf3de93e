"""What arithmetic each stage of a finished sweep did, and how near to the processor's peak.

python benchmarks/stage_rates.py +sweep=sparsity

Seconds are those that the runs recorded, a shared stage counted once; FLOPs are the count that
`--dry-run` estimates with (ffbench/experiment/estimates.py); the peak is measured here with square
float32 products, so run it on the machine of the runs. docs/results.md shows the line in --out.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bench_lines import append, arguments_of, conditions, settings_parser

from ffbench.cli.compose import Job, jobs_of
from ffbench.cli.errors import guarded
from ffbench.experiment import identity
from ffbench.experiment.estimates import stage_flops
from ffbench.experiment.stages import RunStages, run_key
from ffbench.methods.float32_products import linear
from ffbench.models.errors import ModelError
from ffbench.models.sizes import model_sizes
from ffbench.runs.files import StoreError

SCRIPT = "stage_rates.py"
SIZE = 2048  # of the square products: large enough for any processor's peak
ROUNDS = 7


def peak() -> float:
    """FLOP/s of large float32 products by this machine's faster library, the median of ROUNDS."""
    matrix = torch.ones(SIZE, SIZE)
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        linear(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return 2.0 * SIZE**3 / statistics.median(seconds[1:])


def recorded(job: Job) -> dict[str, Any]:
    """The result of a finished run. Raises StoreError if it is missing."""
    path = Path(job.settings.output_dir) / "runs" / run_key(job.settings) / "result.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; run the sweep first") from error
    return found


def stage_totals(jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
    """Seconds and FLOPs by stage over all jobs; a stage that several share counts once.

    Raises ModelError for a model whose sizes nothing tells, StoreError for a run that is not done.
    """
    totals: dict[str, dict[str, float]] = {}
    seen: set[str] = set()
    for job in jobs:
        sizes = model_sizes(identity.model_spec(job.settings))
        if sizes is None:
            raise ModelError(f"model: the sizes of {job.settings.model.name!r} are not known")
        flops = stage_flops(job.settings, sizes)
        keys = {stage.name: stage.key for stage in RunStages(job.settings).run.all()}
        keys |= dict.fromkeys(("fidelity", "evaluate", "speed"), run_key(job.settings))
        for name, seconds in recorded(job)["cost"].items():
            mark = f"{name} {keys.get(name, run_key(job.settings))}"
            if seconds and mark not in seen:
                seen.add(mark)
                total = totals.setdefault(name, {"seconds": 0.0, "flops": 0.0})
                total["seconds"] += seconds
                total["flops"] += flops.get(name, 0.0)
    return totals


def main(arguments: Sequence[str] | None = None) -> int:
    """Append the line and print it; 2 for bad input."""
    words = arguments_of(arguments)
    options = settings_parser(__doc__, "benchmarks/results/stage_rates.jsonl").parse_args(words)
    totals, rate = stage_totals(jobs_of(options.settings)), peak()
    append(options.out, {"stages": totals, "peak_flops": rate} | conditions(SCRIPT, words))
    for name, total in sorted(totals.items(), key=lambda item: -item[1]["seconds"]):
        speed = total["flops"] / total["seconds"]
        print(f"{name}: {total['seconds']:.0f} s, {speed / 1e9:.0f} GFLOP/s, {speed / rate:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
