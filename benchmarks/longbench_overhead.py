"""Cost of an evaluation over the bare `model.generate` on the same prompts, dense, pair by pair.

python benchmarks/longbench_overhead.py model=smollm2_135m task=longbench task.data_dir=FOLDER task.limit=2 \
    'task.tasks=[trec_e,lcc,qasper,samsum_e]' --rounds 3

An evaluation reads the records' text, makes the prompts, prefills once, scores the gold answer and a greedy one, and
writes the answer through to the disk. Beside it `generate` on the ready token ids, twice: `ratio` asks it for as many
tokens as the evaluation's answer has (so that the stop rules win nothing), `ratio_to_end` lets it go on to its own end, up
to the task's max_new_tokens. Every batch is measured `--rounds` times, the order of the sides changing; one more pair before
is a warm-up. Ratios are medians over all pairs, with p20 and p80. The last line is JSON.
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
from ffbench.models.loading import load_model
from ffbench.runs.answers import AnswerLog
from ffbench.runs.provenance import cpu_name, git_state
from ffbench.stages import keys
from ffbench.stages.answering import ending
from ffbench.stages.evaluate import Protocol, evaluate
from ffbench.stages.prompts import prompt_ids
from ffbench.tasks.registry import TaskRecord, TaskSpec
from ffbench.validation import problems


def generate(model: Any, tokenizer: Any, ids: list[list[int]], stops: set[int], tokens: int, least: int) -> torch.Tensor:
    """Bare generation of left-padded prompts: between `least` and `tokens` new ids."""
    width, pad = max(map(len, ids)), tokenizer.pad_token_id or 0
    rows = torch.tensor([[pad] * (width - len(one)) + one for one in ids])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids])
    found: torch.Tensor = model.generate(rows, attention_mask=mask, do_sample=False, max_new_tokens=tokens,
                                         min_new_tokens=least, eos_token_id=sorted(stops), pad_token_id=pad)
    return found


class Pairing:
    """Times both sides of one batch after the other."""

    def __init__(self, model: Any, tokenizer: Any, protocol: Protocol, folder: Path) -> None:
        self.model, self.tokenizer, self.protocol, self.folder = model, tokenizer, protocol, folder

    def evaluation(self, spec: TaskSpec, records: list[TaskRecord], number: int) -> tuple[float, list[dict[str, Any]]]:
        """Seconds and answers of an evaluation from text to disk."""
        log = AnswerLog(self.folder / f"{number}.jsonl")
        start = time.perf_counter()
        answers = evaluate(self.model, self.tokenizer, None, [(spec, records)], log, self.protocol)
        return time.perf_counter() - start, answers

    def bare(self, spec: TaskSpec, ids: list[list[int]], tokens: int, least: int) -> float:
        """Seconds of generate."""
        stops = ending(self.model, self.tokenizer, spec).stops
        start = time.perf_counter()
        generate(self.model, self.tokenizer, ids, stops, tokens, least)
        return time.perf_counter() - start

    def pair(self, spec: TaskSpec, records: list[TaskRecord], number: int) -> dict[str, float]:
        """Seconds of the evaluation, of generate with as many tokens, and of generate to its own end."""
        ids = [prompt_ids(self.tokenizer, spec, one, self.protocol.max_length).ids for one in records]
        to_end = self.bare(spec, ids, spec.max_new_tokens, 0) if number % 2 else None
        spent, answers = self.evaluation(spec, records, number)
        encode = self.tokenizer.encode
        said = max(1, *(len(encode(one["prediction"], add_special_tokens=False)) for one in answers))
        same = self.bare(spec, ids, said, said)
        if to_end is None:
            to_end = self.bare(spec, ids, spec.max_new_tokens, 0)
        return {"evaluate": spent, "generate": same, "generate_to_end": to_end, "records": len(records),
                "prompt_tokens": sum(map(len, ids)), "new_tokens": said}


def main() -> int:
    """Print each pair and, last, one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of every batch")
    options, words = parser.parse_known_args()
    settings = jobs_of([*words, "sparsity=0"])[0].settings
    found = problems(settings)
    if found:
        parser.error("; ".join(found))
    task, work = settings.task, keys.work_of(settings)
    model, tokenizer = load_model(keys.model_spec(settings))
    size = task.batch_size
    batches = [(spec, records[i:i + size]) for spec, records in work for i in range(0, len(records), size)]
    with tempfile.TemporaryDirectory() as folder:
        pairing = Pairing(model, tokenizer, Protocol(task.max_length, size), Path(folder))
        pairing.pair(*batches[0], 0)
        rows = []
        for number, (spec, records) in enumerate(batches * options.rounds, 1):
            rows.append(pairing.pair(spec, records, number))
            print(spec.name, {name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    ratios = {name: np.array([row["evaluate"] / row[side] for row in rows])
              for name, side in (("ratio", "generate"), ("ratio_to_end", "generate_to_end"))}
    line: dict[str, Any] = {"benchmark": "longbench_overhead", "model": settings.model.name, "dtype": settings.model.dtype,
                            "tasks": task.tasks, "pairs": len(rows),
                            "records": sum(len(records) for _, records in batches), "batch_size": size,
                            "max_length": task.max_length, "prompt_tokens": sum(row["prompt_tokens"] for row in rows) / len(rows)}
    for name, side in (("ratio", "generate"), ("ratio_to_end", "generate_to_end")):
        low, middle, high = np.percentile(ratios[name], [20, 50, 80])
        total = sum(row["evaluate"] for row in rows) / sum(row[side] for row in rows)
        line |= {name: float(middle), f"{name}_p20": float(low), f"{name}_p80": float(high), f"{name}_of_totals": total}
    line |= {"seconds_a_record": sum(row["evaluate"] for row in rows) / sum(row["records"] for row in rows),
             "threads": torch.get_num_threads(), "cpu": cpu_name(), "git_sha": git_state()[0]}
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
