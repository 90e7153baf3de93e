"""How long reading many runs takes, and how much memory it needs.

python benchmarks/load_runs.py --runs 2000 --records 200

Writes made-up runs into a temporary folder, reads every frame in a process of its own, prints the
measurements and, with --append FILE, adds them to it as a JSON line. The limits are 10 seconds and
2 GB; the exit code is 1 above them.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LIMIT_SECONDS, LIMIT_GIGABYTES = 10.0, 2.0
LAYERS, TASKS = 30, 8
READER = """
import json, resource, sys, time
from ffanalysis import load
start = time.perf_counter()
seconds, rows = {}, {}
for read in (load.runs, load.tasks, load.groups, load.layers, load.timings, load.answers):
    begun = time.perf_counter()
    frame = read(sys.argv[1])
    seconds[read.__name__], rows[read.__name__] = time.perf_counter() - begun, len(frame)
    del frame
total = time.perf_counter() - start
print(json.dumps({"seconds": total, "cpu_seconds": time.process_time(), "by_frame": seconds, "rows": rows,
                  "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
"""


def result(key: str, draw: random.Random) -> dict[str, Any]:
    """A result as large as a real one."""
    figures = {
        "n": 25,
        "score": draw.random(),
        "score_dense": draw.random(),
        "loss_abs": draw.random(),
        "loss_abs_low": 0.0,
        "loss_abs_high": 1.0,
        "loss_rel": 0.1,
        "loss_rel_low": 0.0,
        "loss_rel_high": 0.2,
        "nll": 1.0,
        "nll_dense": 1.0,
    }
    near = {
        "windows": 16,
        "window_tokens": 2048,
        "kl": draw.random(),
        "kl_low": 0.1,
        "kl_high": 0.9,
        "top1_agreement": 0.8,
        "ppl_ratio": 1.2,
        "ppl_dense": 8.0,
    }
    speed = {
        "tokens": 2048,
        "ratio": 1.2,
        "p20": 1.1,
        "p80": 1.3,
        "dense_s": 2.0,
        "sparse_s": 1.7,
        "rounds": 9,
    }
    return {
        "schema_version": 1,
        "run_key": key,
        "model": "made_up",
        "dtype": "float32",
        "sparsity": 0.5,
        "task": "made_up",
        "protocol": "whole",
        "selector": "trained",
        "compensator": "surrogate",
        "scheduler": "uniform",
        "block_size": 128,
        "hot_fraction": 0.0,
        "rank": 128,
        "group_size": 1,
        "density_used": 0.56,
        "recall_at_k": 0.8,
        "retained_energy": 0.9,
        "tasks": {
            f"task_{i}": figures | {"metric": "f1", "category": "made up"} for i in range(TASKS)
        },
        "mean": figures,
        "fidelity": dict.fromkeys(("prose", "code", "mean"), near),
        "categories": None,
        "buckets": None,
        "speed": {
            "ffn": speed,
            "ttft": [speed] * 4,
            "threads": 2,
            "cpu": "made up",
            "backend": "native",
        },
        "layers": [
            {
                "layer": i,
                "kept": 768,
                "density": 0.5,
                "recall_at_k": draw.random(),
                "retained_energy": draw.random(),
            }
            for i in range(LAYERS)
        ],
        "flops": {"ratio": 0.6, "ideal": 0.5, "selector": 0.0, "compensator": 0.1},
        "cost": {"fit": 100.0},
    }


def write(folder: Path, runs: int, records: int) -> int:
    """Write the runs; returns their bytes."""
    draw, written = random.Random(0), 0
    for number in range(runs):
        key = f"{number:016x}"
        run = folder / "runs" / key
        run.mkdir(parents=True)
        answers = "".join(
            json.dumps(
                {
                    "task": f"task_{i % TASKS}",
                    "record_id": f"{i}",
                    "prediction": "an answer of the usual length, about a line " * 2,
                    "score": draw.random(),
                    "nll": draw.random(),
                    "prompt_tokens": 1800,
                    "tokens_cut": 0,
                    "length": 1200,
                    "seconds": 1.0,
                }
            )
            + "\n"
            for i in range(records)
        )
        provenance = {
            "git_sha": "0" * 40,
            "git_dirty": False,
            "command": ["python", "-m", "ffbench"],
            "started": "2026-01-01",
        }
        for name, text in (
            ("result.json", json.dumps(result(key, draw))),
            ("answers.jsonl", answers),
            ("provenance.json", json.dumps(provenance)),
            ("config.json", "{}"),
        ):
            written += (run / name).write_text(text)
    return written


def cpu_name() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )


def main() -> int:
    """0 within the limits, 1 above them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--append", type=Path, help="add the figures to this file as a JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder), options.runs, options.records)
        done = subprocess.run(
            [sys.executable, "-c", READER, folder],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
        )
    sha = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    figures = {
        "runs": options.runs,
        "records": options.records,
        "bytes": written,
        **json.loads(done.stdout),
        "limit_seconds": LIMIT_SECONDS,
        "limit_gigabytes": LIMIT_GIGABYTES,
        "cpu": cpu_name(),
        "threads": 1,
        "git_sha": sha or None,
    }
    print(json.dumps(figures))
    if options.append:
        with options.append.open("a") as file:
            file.write(json.dumps(figures) + "\n")
    return int(figures["seconds"] > LIMIT_SECONDS or figures["peak_gigabytes"] > LIMIT_GIGABYTES)


if __name__ == "__main__":
    sys.exit(main())
