"""How long reading many runs takes, and how much memory it needs.

python benchmarks/load_runs.py --runs 2000 --records 200

Writes made-up runs into a temporary folder, reads every frame in a process of its own, prints the
measurements and, with --append FILE, adds them to it as a JSON line. The limits are 10 seconds and
2 GB; the exit code is 1 above them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench_lines import append, count

from ffbench.cli.errors import guarded
from ffbench.runs import schema, score_fields
from ffbench.runs.provenance import cpu_name, git_state

LIMIT_SECONDS, LIMIT_GIGABYTES = 10.0, 2.0
LAYERS, TASKS, WINDOWS = 30, 8, 32
FRAMES = ("runs", "tasks", "groups", "layers", "timings", "fidelity", "windows", "answers")
READING = """
import json, resource, sys, time
from ffanalysis import load
start = time.perf_counter()
seconds, rows = {}, {}
for name in sys.argv[2:]:
    begun = time.perf_counter()
    frame = getattr(load, name)(sys.argv[1])
    seconds[name], rows[name] = time.perf_counter() - begun, len(frame)
    del frame
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time(),
    "by_frame": seconds,
    "rows": rows,
    "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


def losses(draw: random.Random) -> dict[str, Any]:
    """Losses of one task or mean."""
    names = [field.name for field in fields(score_fields.LossFields) if field.name != "power"]
    return {name: draw.random() for name in names} | {"n": 25}


def fidelity(draw: random.Random) -> schema.FidelityFields:
    """Fidelity with every tail and its windows."""
    names = [field.name for field in fields(schema.TailFidelity) if field.name != "n"]
    tails = {
        tail: schema.TailFidelity(n=WINDOWS, **{name: draw.random() for name in names})
        for tail in schema.TAILS
    }
    rows = [
        schema.FidelityRow(
            text=text,
            document=f"document {i}",
            context=1536,
            tail=tail,
            tokens=255,
            kl=draw.random(),
            nll_dense=2.0,
            nll_sparse=2.1,
            top1_agreement=0.9,
        )
        for tail in schema.TAILS
        for text in ("prose", "code")
        for i in range(WINDOWS // 2)
    ]
    return schema.FidelityFields(
        contexts=[1536], tails=tails, by_text={"prose": tails, "code": tails}, rows=rows
    )


def speed() -> schema.SpeedFields:
    """Speedups at four prompt lengths."""
    ratio = schema.SpeedRatio(tokens=2048, ratio=1.2, p20=1.1, p80=1.3, dense_s=2.0, sparse_s=1.7)
    return schema.SpeedFields(ffn=ratio, ttft=[ratio] * 4, threads=2, cpu="made up")


def result(key: str, draw: random.Random) -> dict[str, Any]:
    """A result as large as a real one."""
    layers = [
        schema.LayerFields(
            layer=i,
            kept=768,
            density=0.5,
            recall_at_k=draw.random(),
            retained_energy=draw.random(),
        )
        for i in range(LAYERS)
    ]
    return schema.RunResult(
        schema_version=schema.SCHEMA_VERSION,
        run_key=key,
        model="made_up",
        dtype="float32",
        sparsity=0.5,
        task="made_up",
        selector="trained",
        compensator="surrogate",
        scheduler="uniform",
        block_size=128,
        fidelity=fidelity(draw),
        speed=speed(),
        layers=layers,
        flops=schema.FlopsFields(ratio=0.6, ideal=0.5, selector=0.0, compensator=0.1),
        tasks={
            f"task_{i}": score_fields.TaskFields(metric="f1", **losses(draw)) for i in range(TASKS)
        },
        mean=score_fields.LossFields(**losses(draw)),
        cost={"fit": 100.0},
    ).to_json()


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
            written += (run / name).write_text(text, encoding="utf-8")
    return written


def main() -> int:
    """0 within the limits, 1 above them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=count, default=2000)
    parser.add_argument("--records", type=count, default=200)
    parser.add_argument("--append", type=Path, help="file that gets the JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder), options.runs, options.records)
        done = subprocess.run(
            [sys.executable, "-c", READING, folder, *FRAMES],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    measured = {
        "runs": options.runs,
        "records": options.records,
        "bytes": written,
        **json.loads(done.stdout),
        "limit_seconds": LIMIT_SECONDS,
        "limit_gigabytes": LIMIT_GIGABYTES,
        "cpu": cpu_name(),
        "threads": 1,
        "git_sha": git_state()[0],
    }
    print(json.dumps(measured))
    if options.append:
        append(options.append, measured)
    return int(measured["seconds"] > LIMIT_SECONDS or measured["peak_gigabytes"] > LIMIT_GIGABYTES)


if __name__ == "__main__":
    sys.exit(guarded(main))
