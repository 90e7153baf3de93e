r"""Cost of an evaluation over bare `model.generate` on the same prompts, dense, pair by pair.

python benchmarks/longbench_overhead.py model=smollm2_135m task=longbench task.data_dir=FOLDER \
    task.limit=2 'task.tasks=[trec_e,lcc,qasper,samsum_e]' --rounds 3

An evaluation reads the records' text, makes the prompts, prefills once, scores the gold answer and
a greedy one, and writes the answer through to the disk. It is compared with `generate` on the ready
token ids, which makes as many tokens as the evaluation's answer has, so that its stop rules win
nothing. Every batch is measured --rounds times, with the order of the two sides changing; one more
pair before is a warm-up. The ratio is the median over all pairs, with p20 and p80. The line is
appended to --out.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_lines import append, arguments_of, conditions, count, settings_parser, single_job

from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.answers import Protocol, evaluate
from ffbench.evaluation.decoding import ending
from ffbench.evaluation.prompts import prompt_ids
from ffbench.experiment.identity import model_spec, work_of
from ffbench.models.loading import load_model
from ffbench.runs.answers import AnswerLog
from ffbench.tasks.base import TaskRecord, TaskSpec

SCRIPT = "longbench_overhead.py"


def generate(
    model: Any, tokenizer: Any, ids: list[list[int]], stops: set[int], tokens: int
) -> float:
    """Seconds of bare generation of `tokens` new ids after left-padded prompts."""
    width, pad = max(map(len, ids)), tokenizer.pad_token_id or 0
    rows = torch.tensor([[pad] * (width - len(row)) + row for row in ids]).to(model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
    mask = mask.to(model.device)
    start = time.perf_counter()
    model.generate(
        rows,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        eos_token_id=sorted(stops),
        pad_token_id=pad,
    )
    return time.perf_counter() - start


class Pairing:
    """Times both sides of one batch after the other."""

    def __init__(self, model: Any, tokenizer: Any, protocol: Protocol, folder: Path) -> None:
        self.model, self.tokenizer, self.protocol, self.folder = model, tokenizer, protocol, folder
        self.number = 0
        self.tokens: dict[str, int] = {}

    def evaluation(self, spec: TaskSpec, records: list[TaskRecord]) -> float:
        """Seconds of an evaluation from text to disk; notes how many tokens its longest answer
        has.
        """
        log = AnswerLog(self.folder / f"{self.number}.jsonl")
        start = time.perf_counter()
        answers = evaluate(self.model, self.tokenizer, None, [(spec, records)], log, self.protocol)
        seconds = time.perf_counter() - start
        encode = self.tokenizer.encode
        self.tokens[records[0].record_id] = max(
            1, *(len(encode(answer["prediction"], add_special_tokens=False)) for answer in answers)
        )
        return seconds

    def bare(self, spec: TaskSpec, records: list[TaskRecord]) -> float:
        """Seconds of generate on the same prompts; the evaluation must have run before."""
        ids = [
            prompt_ids(self.tokenizer, spec, record, self.protocol.max_length).ids
            for record in records
        ]
        stops = ending(self.model, self.tokenizer, spec).stops
        return generate(self.model, self.tokenizer, ids, stops, self.tokens[records[0].record_id])

    def pair(self, spec: TaskSpec, records: list[TaskRecord]) -> dict[str, float]:
        """Seconds of both sides; the one that goes first changes from pair to pair once answers are
        known.
        """
        self.number += 1
        first = (
            self.bare(spec, records)
            if self.number % 2 and records[0].record_id in self.tokens
            else None
        )
        spent = self.evaluation(spec, records)
        return {
            "evaluate": spent,
            "generate": self.bare(spec, records) if first is None else first,
            "records": len(records),
            "new_tokens": self.tokens[records[0].record_id],
        }


def timed_pairs(
    pairing: Pairing, batches: list[tuple[TaskSpec, list[TaskRecord]]], rounds: int
) -> list[dict[str, float]]:
    """Seconds of every pair, each printed as it comes; the first pair of all is a warm-up."""
    pairing.pair(*batches[0])
    rows = []
    for spec, records in batches * rounds:
        rows.append(pairing.pair(spec, records))
        print(spec.name, {name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    return rows


def ratios(rows: list[dict[str, float]]) -> dict[str, float]:
    """Evaluation over generation: median and spread over pairs, and of all seconds together."""
    pairs = [row["evaluate"] / row["generate"] for row in rows]
    low, middle, high = np.percentile(pairs, [20, 50, 80])
    totals = {side: sum(row[side] for row in rows) for side in ("evaluate", "generate", "records")}
    return {
        "pairs": len(rows),
        "ratio": float(middle),
        "ratio_p20": float(low),
        "ratio_p80": float(high),
        "ratio_of_totals": totals["evaluate"] / totals["generate"],
        "seconds_per_record": totals["evaluate"] / totals["records"],
    }


def run(arguments: Sequence[str]) -> int:
    """Print each pair; append and print one JSON line."""
    parser = settings_parser(__doc__, "benchmarks/results/longbench_overhead.jsonl")
    parser.add_argument("--rounds", type=count, default=3, help="pairs of every batch")
    options = parser.parse_intermixed_args(list(arguments))
    defaults = ["tracker=none", "speed.rounds=0", "sparsity=0"]
    settings = single_job(options.settings, defaults).settings
    task, work = settings.task, work_of(settings)
    if not work:
        return refuse(["task: no tasks to time; give task=NAME"])
    model, tokenizer = load_model(model_spec(settings))
    size = task.batch_size
    batches = [
        (spec, records[i : i + size])
        for spec, records in work
        for i in range(0, len(records), size)
    ]
    protocol = Protocol(task.max_length, size, backend=settings.kernel.backend)
    with tempfile.TemporaryDirectory() as folder:
        rows = timed_pairs(
            Pairing(model, tokenizer, protocol, Path(folder)), batches, options.rounds
        )
    line = {
        "benchmark": "longbench_overhead",
        "model": settings.model.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "tasks": list(task.tasks),
        "records": sum(len(records) for _, records in batches),
        "batch_size": size,
        "max_length": task.max_length,
    }
    line |= ratios(rows) | conditions(SCRIPT, arguments, str(model.device))
    append(options.out, line)
    print(json.dumps(line))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
