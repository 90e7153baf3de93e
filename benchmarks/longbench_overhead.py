"""Cost of an evaluation over the bare `model.generate` on the same prompts, dense, pair by pair.

python benchmarks/longbench_overhead.py model=smollm2_135m task=longbench task.data_dir=FOLDER
task.limit=2 \ 'task.tasks=[trec_e,lcc,qasper,samsum_e]' --rounds 3

An evaluation reads the records' text, makes the prompts, prefills once, scores the gold answer and
a greedy one, and writes the answer through to the disk. Beside it `generate` on the ready token
ids, asked for as many tokens as the evaluation's answer has, so that its stop rules win nothing.
Every batch is measured `--rounds` times, the order of the sides changing; one more pair before is a
warm-up. The ratio is the median over all pairs, with p20 and p80. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ffbench.cli.compose import jobs_of
from ffbench.evaluation.answers import Protocol, evaluate
from ffbench.evaluation.decoding import ending
from ffbench.evaluation.prompts import prompt_ids
from ffbench.experiment import identity as keys
from ffbench.models.loading import load_model
from ffbench.runs.answers import AnswerLog
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.tasks.base import TaskRecord, TaskSpec
from ffbench.validation import problems


def generate(
    model: Any, tokenizer: Any, ids: list[list[int]], stops: set[int], tokens: int
) -> float:
    """Seconds of bare generation of `tokens` new ids after left-padded prompts."""
    width, pad = max(map(len, ids)), tokenizer.pad_token_id or 0
    rows = torch.tensor([[pad] * (width - len(one)) + one for one in ids])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
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
            1, *(len(encode(one["prediction"], add_special_tokens=False)) for one in answers)
        )
        return seconds

    def bare(self, spec: TaskSpec, records: list[TaskRecord]) -> float:
        """Seconds of generate on the same prompts; the evaluation must have run before."""
        ids = [
            prompt_ids(self.tokenizer, spec, one, self.protocol.max_length).ids for one in records
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


def main() -> int:
    """Print each pair and, last, one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="pairs of every batch")
    options, words = parser.parse_known_args()
    settings = jobs_of([*words, "sparsity=0"])[0].settings
    found = problems(settings)
    if found:
        parser.error("; ".join(found))
    task, work = settings.task, keys.work_of(settings)
    model, tokenizer = load_model(keys.model_spec(settings))
    size = task.batch_size
    batches = [
        (spec, records[i : i + size])
        for spec, records in work
        for i in range(0, len(records), size)
    ]
    with tempfile.TemporaryDirectory() as folder:
        pairing = Pairing(model, tokenizer, Protocol(task.max_length, size), Path(folder))
        pairing.pair(*batches[0])
        rows = []
        for spec, records in batches * options.rounds:
            rows.append(pairing.pair(spec, records))
            print(
                spec.name, {name: round(value, 3) for name, value in rows[-1].items()}, flush=True
            )
    low, middle, high = np.percentile(
        [row["evaluate"] / row["generate"] for row in rows], [20, 50, 80]
    )
    totals = {side: sum(row[side] for row in rows) for side in ("evaluate", "generate", "records")}
    print(
        json.dumps(
            {
                "benchmark": "longbench_overhead",
                "model": settings.model.name,
                "dtype": settings.model.dtype,
                "tasks": task.tasks,
                "records": sum(len(records) for _, records in batches),
                "pairs": len(rows),
                "batch_size": size,
                "max_length": task.max_length,
                "ratio": middle,
                "ratio_p20": low,
                "ratio_p80": high,
                "ratio_of_totals": totals["evaluate"] / totals["generate"],
                "seconds_a_record": totals["evaluate"] / totals["records"],
                "threads": torch.get_num_threads(),
                "cpu": cpu_name(),
                "git_sha": git_state()[0],
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
