"""How the cost of sweeps, plans and reports grows with jobs, tokens, width and runs.

python benchmarks/growth.py             about a quarter of an hour on two quiet cores
python benchmarks/growth.py --quick     the smaller sizes of each, a minute or two

jobs      a sweep of tiny models by seed, on one fitted plan: seconds of the whole command, and of
          the same command when every job is done
tokens    building a plan of a small random model against its calibration tokens
width     building the same plan against the model's width d, with f = 4 d
runs      `python -m ffbench report` over made-up runs of 100 records (load_runs.py writes them)

Each size is a line in --out; a line that is there already is not measured again. docs/growth.md
shows the lines with the exponents fitted to them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench_lines import QUIET, append, arguments_of, conditions, keys_of, single_job
from load_runs import write as write_runs

from ffbench.cli.errors import guarded
from ffbench.experiment import identity
from ffbench.experiment.stages import RunStages
from ffbench.runs.identity import content_key
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.runs.stage import Stage
from ffbench.training.plan_builder import PlanBuilder
from ffbench.training.plan_stages import TrainingText

SCRIPT = "growth.py"
RECORDS = 100
JOB = [
    "model=tiny_llama",
    "compensator=none",
    "scheduler=uniform",
    "block_size=32",
    "calibration.tokens=1024",
    "calibration.window=512",
    "fidelity.windows=0",
    "kernel=torch",
    *QUIET,
]
WINDOW, DEPTH, BASE_WIDTH, BASE_TOKENS = 1024, 2, 256, 8192
# peak memory of a child is read in the child's parent, which has no other child
CHILD = (
    "import json, resource, subprocess, sys, time\n"
    "begin = time.perf_counter()\n"
    "done = subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)\n"
    "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20\n"
    "print(json.dumps([done.returncode, time.perf_counter() - begin, peak]))\n"
)


def child(arguments: Sequence[str]) -> dict[str, float]:
    """Seconds and peak gigabytes of a Python command in a fresh process. RuntimeError if it
    fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True
    )
    code, seconds, peak = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {code}: {done.stderr[-300:]}")
    return {"seconds": seconds, "peak_gigabytes": peak}


def sweep(jobs: int) -> dict[str, float]:
    """A sweep of `jobs` runs, then the same when all are done."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "ffbench", *JOB, f"output_dir={folder}", f"seed=range(0,{jobs})"]
        first = child(command)
        return first | {"done_seconds": child(command)["seconds"]}


def report(runs: int) -> dict[str, float]:
    """The table of `runs` runs."""
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), runs, RECORDS)
        return child(["-m", "ffbench", "report", "--output-dir", folder])


def small_model(width: int) -> Any:
    """A random model of DEPTH layers with d = width and f = 4 d."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=259,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=DEPTH,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 64,
        max_position_embeddings=4096,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def plan(width: int, tokens: int) -> dict[str, Any]:
    """Building one plan of the default methods, and its stages; the model is made before."""
    settings = single_job(["model=tiny_llama", "compensator.output_map_rank=32"]).settings
    stages, model = RunStages(settings), small_model(width)
    seconds: dict[str, float] = {}

    def windows(count: int, length: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(length)
        return torch.randint(259, (count, length), generator=generator)

    with tempfile.TemporaryDirectory() as folder:

        def cache(stage: Stage, make: Callable[[Path], None]) -> Path:
            target = Path(folder) / stage.name
            if not target.exists():
                target.mkdir()
                begin = time.perf_counter()
                make(target)
                seconds[stage.name] = time.perf_counter() - begin
            return target

        PlanBuilder(
            model=model,
            settings=stages.plan_settings,
            objective=settings.objective,
            text=TrainingText(windows(tokens // WINDOW, WINDOW), windows),
            stages=stages.plan_stages,
            cache=cache,
            fingerprint=identity.fingerprint(settings),
        ).plan()
    # stages that a stage asks for while it is made are inside its own seconds
    return {"seconds": sum(seconds.values()), "stages": seconds}


@dataclass(frozen=True)
class Growth:
    """One quantity: its sizes, those of --quick, and what measures a size."""

    measure: Callable[[int], dict[str, Any]]
    sizes: tuple[int, ...]
    quick: tuple[int, ...]


GROWTHS = {
    "jobs": Growth(sweep, (1, 10, 100, 1000), (1, 10)),
    "tokens": Growth(
        lambda tokens: plan(BASE_WIDTH, tokens), (4096, 8192, 16384, 32768, 65536), (4096, 8192)
    ),
    "width": Growth(lambda width: plan(width, BASE_TOKENS), (128, 256, 512, 1024), (128, 256)),
    "runs": Growth(report, (100, 1000, 10_000), (10, 100)),
}


def run(arguments: Sequence[str]) -> int:
    """Append a line per size that --out does not have."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/growth.jsonl"))
    parser.add_argument("--only", choices=GROWTHS, nargs="+", default=list(GROWTHS))
    parser.add_argument("--quick", action="store_true", help="the smaller sizes")
    options = parser.parse_args(arguments)
    there = keys_of(options.out)
    for name in options.only:
        growth = GROWTHS[name]
        for size in growth.quick if options.quick else growth.sizes:
            identified = {"growth": name, "size": size, "cpu": cpu_name(), "git": git_state()[0]}
            key = content_key(identified | {"threads": torch.get_num_threads()})
            if key in there:
                continue
            line = {"key": key, "growth": name, "size": size} | growth.measure(size)
            append(options.out, line | conditions(SCRIPT, arguments))
            print(f"{name} {size}: {line['seconds']:.2f} s", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
