"""Score a model, dense or sparse, on task records; answers are written as they come."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.answers import AnswerLog
from ffbench.sparsity.plan import SparsePlan
from ffbench.stages.prompts import gold_ids, prompt_ids, stop_ids
from ffbench.tasks.registry import STOPS, TaskRecord, TaskSpec

RESAMPLES = 2000


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


@dataclass(frozen=True)
class Ending:
    """When an answer ends: at an id of `stops`, at `limit` ids, or where `finished` says so of its text.

    Ids of `stops` are not allowed among the first `least` ids.
    """

    stops: set[int]
    limit: int
    least: int
    finished: Callable[[list[int]], bool]


def ending(model: Any, tokenizer: Any, spec: TaskSpec) -> Ending:
    """The rule of a task for a model."""
    stops, by_newline = stop_ids(model, tokenizer), spec.stop == "newline_token"
    if by_newline:
        stops.add(tokenizer.encode("\n", add_special_tokens=False)[-1])
    done = STOPS[spec.stop]
    return Ending(stops, spec.max_new_tokens, int(by_newline),
                  lambda ids: done(tokenizer.decode(ids, skip_special_tokens=True)))


@torch.no_grad()
def greedy(model: Any, logits: Tensor, cache: Any, rule: Ending) -> list[int]:
    """Greedy continuation of the prompt in `cache`, without the stop id."""
    ids: list[int] = []
    while len(ids) < rule.limit:
        if len(ids) < rule.least:
            logits = logits.index_fill(-1, torch.tensor(sorted(rule.stops), device=logits.device), -torch.inf)
        token = int(logits.argmax())
        if token in rule.stops:
            break
        ids.append(token)
        if rule.finished(ids):
            break
        if len(ids) < rule.limit:
            step = torch.tensor([[token]], device=logits.device)
            logits = model(step, past_key_values=cache, use_cache=True).logits[0, -1]
    return ids


@torch.no_grad()
def answer(model: Any, tokenizer: Any, plan: SparsePlan | None, spec: TaskSpec, record: TaskRecord,
           max_length: int, backend: str) -> dict[str, Any]:
    """Prefill one prompt once, then score the gold answer and a greedy one from its cache, both dense."""
    started = time.perf_counter()
    prompt = prompt_ids(tokenizer, spec, record, max_length)
    with sparse_prefill(model, plan, backend) if plan is not None else nullcontext():
        out = model(torch.tensor([prompt.ids], device=model.device), use_cache=True, logits_to_keep=1)
    nll = gold_nll(model, out.logits[0, -1], out.past_key_values, gold_ids(tokenizer, spec, record))
    new = greedy(model, out.logits[0, -1], out.past_key_values, ending(model, tokenizer, spec))
    text = tokenizer.decode(new, skip_special_tokens=True)
    return {"task": spec.name, "record_id": record.record_id, "prediction": text, "score": spec.score(text, record),
            "nll": nll, "prompt_tokens": len(prompt.ids), "tokens_cut": prompt.cut, "length": record.length,
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
