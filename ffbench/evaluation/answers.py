"""Score a model, dense or sparse, on task records; answers are written as they come."""

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ffbench.evaluation.decoding import Reader, ending
from ffbench.evaluation.prompts import PromptError, PromptIds, gold_ids, prompt_ids
from ffbench.methods.plan import SparsePlan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.answers import AnswerLog
from ffbench.runs.progress import progress_bar
from ffbench.tasks.base import TaskRecord, TaskSpec

Work = list[tuple[TaskSpec, list[TaskRecord]]]
Batch = list[tuple[TaskRecord, PromptIds]]


@dataclass(frozen=True)
class Protocol:
    """How prompts are answered: room for prompt and answer in tokens, prompts a batch, which part
    runs sparse.
    """

    max_length: int
    batch_size: int = 1
    name: str = "whole"
    backend: str = "auto"


def batches(
    tokenizer: Any, spec: TaskSpec, records: list[TaskRecord], protocol: Protocol, done: set[str]
) -> Iterator[Batch]:
    """Batches of similar length that hold a record not in `done`.

    Which records share a batch never depends on `done`: a run that goes on pads its prompts as one
    without a break.
    """

    def prompt(record: TaskRecord) -> tuple[TaskRecord, PromptIds]:
        return record, prompt_ids(tokenizer, spec, record, protocol.max_length)

    if protocol.batch_size == 1:
        yield from ([prompt(record)] for record in records if record.record_id not in done)
    elif any(record.record_id not in done for record in records):
        pairs = sorted(map(prompt, records), key=lambda pair: len(pair[1].ids))
        for start in range(0, len(pairs), protocol.batch_size):
            batch = pairs[start : start + protocol.batch_size]
            if any(record.record_id not in done for record, _ in batch):
                yield batch


def answer(reader: Reader, tokenizer: Any, spec: TaskSpec, batch: Batch) -> list[dict[str, Any]]:
    """Prefill a batch once, then score the gold answers and greedy ones from its cache, both
    dense.
    """
    started, state = time.perf_counter(), reader.prefill
    before = (state.used, state.total) if state else (0, 0)
    reading = reader.read([prompt for _, prompt in batch])
    used, total = (state.used - before[0], state.total - before[1]) if state else (1, 1)
    likelihoods = reader.likelihoods(
        reading, [gold_ids(tokenizer, spec, record) for record, _ in batch]
    )
    rule = ending(reader.model, tokenizer, spec)
    texts = [
        tokenizer.decode(ids, skip_special_tokens=True)
        for ids in reader.greedy(reading, [rule] * len(batch))
    ]
    seconds = (time.perf_counter() - started) / len(batch)
    return [
        {
            "task": spec.name,
            "record_id": record.record_id,
            "prediction": text,
            "score": spec.score(text, record),
            "nll": -sum(gold.tokens) / len(gold.tokens),
            "prompt_tokens": len(prompt.ids),
            "tokens_cut": prompt.cut,
            "length": record.length,
            "density": used / total,
            "seconds": seconds,
        }
        for (record, prompt), text, gold in zip(batch, texts, likelihoods, strict=True)
    ]


def evaluate(
    model: Any,
    tokenizer: Any,
    plan: SparsePlan | None,
    work: Iterable[tuple[TaskSpec, list[TaskRecord]]],
    log: AnswerLog,
    protocol: Protocol,
) -> list[dict[str, Any]]:
    """Answer every record that `log` does not hold yet; returns all answers.

    Raises PromptError where `protocol.max_length` is beyond the positions that the model knows.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and protocol.max_length > positions:
        raise PromptError(
            f"task.max_length={protocol.max_length}: the model knows {positions} positions; choose at most that"
        )
    done: dict[str, set[str]] = {}
    for one in log.read():
        done.setdefault(one["task"], set()).add(one["record_id"])
    work = list(work)
    missing = sum(
        record.record_id not in done.get(spec.name, ())
        for spec, records in work
        for record in records
    )
    bar = progress_bar(total=missing, desc="evaluate: " + ("dense" if plan is None else "sparse"))
    with (
        bar,
        sparse_prefill(model, plan, protocol.backend)
        if plan is not None
        else nullcontext() as prefill,
    ):
        reader = Reader(model, tokenizer.pad_token_id or 0, prefill, protocol.name)
        for spec, records in work:
            known = done.get(spec.name, set())
            for batch in batches(tokenizer, spec, records, protocol, known):
                for found in answer(reader, tokenizer, spec, batch):
                    if found["record_id"] not in known:
                        log.append(found)
                        bar.update()
    log.close()
    return log.read()
