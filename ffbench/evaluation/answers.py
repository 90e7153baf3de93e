"""Score a model, dense or sparse, on task records; answers are written one by one."""

import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

from ffbench.evaluation.chat_template import PromptError
from ffbench.evaluation.decoding import Decoder, PrefillState, ending
from ffbench.evaluation.prompts import (
    PromptIds,
    gold_ids,
    gold_text,
    prompt_ids,
    prompt_text,
)
from ffbench.methods.plan import SparsePlan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.answers import AnswerLog
from ffbench.runs.progress import progress_bar
from ffbench.tasks.base import TaskRecord, TaskSpec, Work

PROTOCOLS = ("whole", "context")  # the part of a prompt that runs sparse; see `Decoder`
TAIL_CHARACTERS = 600  # of the prompt's end, kept with each answer for a reader
Batch = list[tuple[TaskRecord, PromptIds]]


@dataclass(frozen=True)
class Protocol:
    """How prompts are answered: room for prompt and answer in tokens, prompts per batch, which part
    runs sparse, the backend of ffkernels, and whether answers are decoded.

    Without decoding, only the gold answer's likelihood is measured, which takes about a third of
    the time.
    """

    max_length: int
    batch_size: int = 1
    name: str = "whole"
    backend: str = "auto"
    decode: bool = True


def batches(
    tokenizer: Any, spec: TaskSpec, records: list[TaskRecord], protocol: Protocol, done: set[str]
) -> Iterator[Batch]:
    """Batches of similar length that hold a record not in `done`.

    Which records share a batch never depends on `done`: a run that resumes pads its prompts as one
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


def decoded(
    decoder: Decoder, tokenizer: Any, spec: TaskSpec, state: PrefillState, count: int
) -> list[str]:
    """Greedy answers to `count` prompts."""
    rule = ending(decoder.model, tokenizer, spec)
    return [
        tokenizer.decode(ids, skip_special_tokens=True)
        for ids in decoder.greedy(state, [rule] * count)
    ]


def answer(
    decoder: Decoder, tokenizer: Any, spec: TaskSpec, batch: Batch, decode: bool = True
) -> list[dict[str, Any]]:
    """Prefill a batch once, then score the gold answers and (if `decode`) greedy ones from its
    cache, both dense. Without decoding, `prediction` and `score` are None. `score_error` says why
    the scorer failed, if it did.
    """
    started = time.perf_counter()
    state = decoder.prefill([prompt for _, prompt in batch])
    gold = [gold_ids(tokenizer, spec, record) for record, _ in batch]
    likelihoods = decoder.likelihoods(state, gold)
    texts: list[str | None] = [None] * len(batch)
    if decode:
        texts = [*decoded(decoder, tokenizer, spec, state, len(batch))]
    seconds = (time.perf_counter() - started) / len(batch)
    grades = [
        (None, None) if text is None else spec.graded(text, record)
        for (record, _), text in zip(batch, texts, strict=True)
    ]
    return [
        {
            "task": spec.name,
            "record_id": record.record_id,
            "prediction": text,
            "gold": gold_text(record),
            "prompt_tail": prompt_text(record)[-TAIL_CHARACTERS:],
            "score": points,
            "score_error": reason,
            "nll": -sum(likelihood.tokens) / len(likelihood.tokens),
            "prompt_tokens": len(prompt.ids),
            "tokens_cut": prompt.cut,
            "length": record.length,
            "density": decoder.density,
            "seconds": seconds,
        }
        for (record, prompt), text, (points, reason), likelihood in zip(
            batch, texts, grades, likelihoods, strict=True
        )
    ]


def check_positions(model: Any, max_length: int) -> None:
    """Raise PromptError if `max_length` is beyond the positions that the model knows."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and max_length > positions:
        raise PromptError(
            f"task.max_length={max_length}: the model knows {positions} positions; choose at most "
            f"{positions}"
        )


def evaluate(
    model: Any,
    tokenizer: Any,
    plan: SparsePlan | None,
    work: Work,
    log: AnswerLog,
    protocol: Protocol,
) -> list[dict[str, Any]]:
    """Answer every record that `log` does not hold yet; returns all answers.

    Warns once if a plan is given and prompts are too short to be sparse. Raises PromptError if
    `protocol.max_length` is beyond the positions that the model knows.
    """
    check_positions(model, protocol.max_length)
    done: dict[str, set[str]] = {}
    for known in log.read():
        done.setdefault(known["task"], set()).add(known["record_id"])
    missing = sum(
        record.record_id not in done.get(spec.name, ())
        for spec, records in work
        for record in records
    )
    bar = progress_bar(total=missing, desc="evaluate: " + ("dense" if plan is None else "sparse"))
    with (
        closing(log),
        bar,
        sparse_prefill(model, plan, protocol.backend)
        if plan is not None
        else nullcontext() as sparsity,
    ):
        decoder = Decoder(model, tokenizer.pad_token_id or 0, sparsity, protocol.name)
        for spec, records in work:
            answered = done.get(spec.name, set())
            for batch in batches(tokenizer, spec, records, protocol, answered):
                for row in answer(decoder, tokenizer, spec, batch, protocol.decode):
                    if row["record_id"] not in answered:
                        log.append(row)
                        bar.update()
        decoder.warn_about_dense_prompts("task")
    return log.read()
