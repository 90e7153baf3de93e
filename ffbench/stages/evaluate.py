"""Score a model, dense or sparse, on task records; answers are written as they come."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.answers import AnswerLog
from ffbench.sparsity.plan import SparsePlan
from ffbench.tasks.registry import TaskRecord, TaskSpec

RESAMPLES = 2000


def chat_frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that the chat template puts before and after a user's text, thinking off; none without a template."""
    if not getattr(tokenizer, "chat_template", None):
        return [], []
    mark = "FFBENCH-USER-TEXT"
    text = tokenizer.apply_chat_template([{"role": "user", "content": mark}], tokenize=False,
                                         add_generation_prompt=True, enable_thinking=False)
    before, after = text.split(mark)
    return (tokenizer.encode(before, add_special_tokens=False), tokenizer.encode(after, add_special_tokens=False))


def prompt_ids(tokenizer: Any, record: TaskRecord, room: int, chat: bool = False) -> tuple[list[int], int]:
    """Ids of context and question in at most `room` tokens, cut in the middle, and how many were cut.

    With `chat` the chat template goes around what the cut left, and counts in `room`.
    """
    before, after = chat_frame(tokenizer) if chat else ([], [])
    room -= len(before) + len(after)
    if room < 2:
        raise ValueError(f"task.max_length leaves {room} tokens for a prompt of {record.task}; raise it")
    ids = tokenizer.encode(record.context + record.question, add_special_tokens=False)
    cut = max(0, len(ids) - room)
    if cut:
        half = room // 2
        ids = ids[:half] + ids[len(ids) - (room - half):]
    return before + ids + after, cut


@torch.no_grad()
def gold_nll(model: Any, first_logits: Tensor, cache: Any, gold: list[int]) -> float:
    """Nats per token of the gold answer after the prompt in `cache`, which is left as it was."""
    rows = first_logits.view(1, -1)
    if len(gold) > 1:
        ids = torch.tensor([gold[:-1]], device=first_logits.device)
        rows = torch.cat([rows, model(ids, past_key_values=cache, use_cache=True).logits[0]])
        cache.crop(1 - len(gold))
    target = torch.tensor(gold, device=rows.device)
    return float(torch.nn.functional.cross_entropy(rows.float(), target))


@torch.no_grad()
def greedy(model: Any, logits: Tensor, cache: Any, limit: int, stop_ids: set[int],
           ended: Callable[[list[int]], bool] = lambda ids: False) -> list[int]:
    """Greedy continuation of the prompt in `cache`: at most `limit` ids, without the stop id, until `ended`."""
    ids: list[int] = []
    while len(ids) < limit:
        token = int(logits.argmax())
        if token in stop_ids:
            break
        ids.append(token)
        if ended(ids):
            break
        if len(ids) < limit:
            step = torch.tensor([[token]], device=logits.device)
            logits = model(step, past_key_values=cache, use_cache=True).logits[0, -1]
    return ids


def stop_ids_of(model: Any, tokenizer: Any) -> set[int]:
    """Every end-of-text id of the model and its tokenizer."""
    found = model.generation_config.eos_token_id if model.generation_config else None
    ids = found if isinstance(found, list) else [found]
    return {i for i in [*ids, tokenizer.eos_token_id] if i is not None}


@torch.no_grad()
def answer(model: Any, tokenizer: Any, plan: SparsePlan | None, spec: TaskSpec, record: TaskRecord,
           max_length: int, backend: str) -> dict[str, Any]:
    """Prefill one prompt once, then score the gold answer and a greedy one from its cache, both dense."""
    started = time.perf_counter()
    ids, cut = prompt_ids(tokenizer, record, max_length - spec.max_new_tokens, spec.chat)
    with sparse_prefill(model, plan, backend) if plan is not None else nullcontext():
        out = model(torch.tensor([ids], device=model.device), use_cache=True, logits_to_keep=1)
    gold = tokenizer.encode(record.answers[0], add_special_tokens=False)
    nll = gold_nll(model, out.logits[0, -1], out.past_key_values, gold)
    new = greedy(model, out.logits[0, -1], out.past_key_values, spec.max_new_tokens, stop_ids_of(model, tokenizer),
                 lambda ids: spec.one_line and "\n" in tokenizer.decode(ids, skip_special_tokens=True).lstrip("\n"))
    text = tokenizer.decode(new, skip_special_tokens=True)
    return {"task": spec.name, "record_id": record.record_id, "prediction": text, "score": spec.score(text, record),
            "nll": nll, "prompt_tokens": len(ids), "tokens_cut": cut, "length": record.length,
            "seconds": time.perf_counter() - started}


def evaluate(model: Any, tokenizer: Any, plan: SparsePlan | None, work: Iterable[tuple[TaskSpec, list[TaskRecord]]],
             log: AnswerLog, max_length: int, backend: str = "auto") -> list[dict[str, Any]]:
    """Answer every record that `log` does not hold yet; returns all answers."""
    done = {(a["task"], a["record_id"]) for a in log.read()}
    missing = [(spec, record) for spec, records in work for record in records
               if (spec.name, record.record_id) not in done]
    for spec, record in tqdm(missing, desc="evaluate: " + ("dense" if plan is None else "sparse"), mininterval=1):
        log.append(answer(model, tokenizer, plan, spec, record, max_length, backend))
    log.close()
    return log.read()


def interval(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean of `differences` [n]."""
    rows = np.random.default_rng(seed).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[rows].mean(1), [2.5, 97.5])
    return float(low), float(high)


def task_figures(dense: list[dict[str, Any]], sparse: list[dict[str, Any]],
                 work: list[tuple[TaskSpec, list[TaskRecord]]]) -> dict[str, Any]:
    """Figures `tasks` and `mean` of the result schema from paired answers."""
    first = {(a["task"], a["record_id"]): a for a in dense}
    second = {(a["task"], a["record_id"]): a for a in sparse}
    tasks = {spec.name: one_task(spec, records, first, second) for spec, records in work}
    headline = [t for t in tasks.values() if t["headline"]]
    if not headline:
        return {"tasks": tasks, "mean": None}
    mean = {name: sum(t[name] for t in headline) / len(headline) for name in ("score", "score_dense", "nll", "nll_dense")}
    groups = [np.array([first[s.name, r.record_id]["score"] - second[s.name, r.record_id]["score"] for r in records])
              for s, records in work if s.headline]
    generator = np.random.default_rng(0)
    draws = np.mean([g[generator.integers(0, len(g), (RESAMPLES, len(g)))].mean(1) for g in groups], axis=0)
    low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
    return {"tasks": tasks, "mean": mean | losses(mean["score"], mean["score_dense"], low, high)
            | {"n": sum(t["n"] for t in headline)}}


def losses(score: float, dense: float, low: float, high: float) -> dict[str, float | None]:
    """Absolute and relative loss with the interval [low, high] of the absolute one."""
    relative = {f"loss_rel{end}": value / dense if dense else None
                for end, value in (("", dense - score), ("_low", low), ("_high", high))}
    return {"loss_abs": dense - score, "loss_abs_low": low, "loss_abs_high": high} | relative


def one_task(spec: TaskSpec, records: list[TaskRecord], dense: dict, sparse: dict) -> dict[str, Any]:
    """Task figures of one task."""
    pairs = [(dense[spec.name, r.record_id], sparse[spec.name, r.record_id]) for r in records]
    before, after = (np.array([pair[i]["score"] for pair in pairs]) for i in (0, 1))
    cut = [pair[1]["tokens_cut"] for pair in pairs if pair[1]["tokens_cut"]]
    score, score_dense = float(after.mean()), float(before.mean())
    return {"n": len(pairs), "score": score, "score_dense": score_dense, "metric": spec.metric,
            "category": spec.category, "chance": spec.chance(records), "headline": spec.headline,
            "truncated": len(cut), "tokens_cut": sum(cut) / len(cut) if cut else 0.0,
            "nll": float(np.mean([pair[1]["nll"] for pair in pairs])),
            "nll_dense": float(np.mean([pair[0]["nll"] for pair in pairs]))} | losses(score, score_dense,
                                                                                     *interval(before - after))
