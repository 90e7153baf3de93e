"""Answer prompts with a model: one prefill a prompt, the gold answer's likelihood and a greedy
answer from its cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from ffbench.evaluation.prompts import PromptIds, stop_ids
from ffbench.models.sparse_prefill import Prefill
from ffbench.tasks.base import STOPS, TaskSpec


@dataclass(frozen=True)
class Ending:
    """When an answer ends: at an id of `stops`, at `limit` ids, or where `finished` says so of
    them.

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
    return Ending(
        stops,
        spec.max_new_tokens,
        int(by_newline),
        lambda ids: done(tokenizer.decode(ids, skip_special_tokens=True)),
    )


@dataclass(frozen=True)
class Likelihood:
    """Log-probability (nats) of each token of a continuation, and whether greedy decoding gives
    it.
    """

    tokens: list[float]
    greedy: bool


@dataclass
class Reading:
    """Prompts in a cache: mask [n, T] of real tokens (None: all), next-token logits [n,
    vocabulary].
    """

    cache: Any
    logits: Tensor
    mask: Tensor | None
    lengths: Tensor
    width: int

    def step(self, ids: Tensor, done: int) -> dict[str, Tensor]:
        """Arguments of a forward pass of ids [n, m] after the prompts and `done` ids more."""
        n, m = ids.shape
        given: dict[str, Tensor] = {"input_ids": ids}
        if self.mask is not None:
            more = torch.ones(n, done + m, dtype=self.mask.dtype, device=ids.device)
            given["attention_mask"] = torch.cat([self.mask, more], 1)
            given["position_ids"] = self.lengths[:, None] + torch.arange(
                done, done + m, device=ids.device
            )
        return given


class Reader:
    """A model that reads prompts, sparse where `prefill` (of an open `sparse_prefill`) is given,
    and continues dense.

    Protocol "whole": the whole prompt is sparse but for the plan's dense blocks; "context": sparse
    up to the question. Prompts of a batch are padded on the left.
    """

    def __init__(
        self, model: Any, pad_id: int, prefill: Prefill | None = None, protocol: str = "whole"
    ) -> None:
        self.model, self.pad_id, self.prefill, self.protocol = model, pad_id, prefill, protocol

    @torch.no_grad()
    def read(self, prompts: list[PromptIds]) -> Reading:
        """Prefill the prompts."""
        from transformers import DynamicCache

        width = max(len(prompt.ids) for prompt in prompts)
        rows = [[self.pad_id] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts]
        ids = torch.tensor(rows, device=self.model.device)
        lengths = torch.tensor([len(prompt.ids) for prompt in prompts], device=ids.device)
        given: dict[str, Any] = {"input_ids": ids, "past_key_values": DynamicCache()}
        mask = None
        if int(lengths.min()) < width:
            mask = (torch.arange(width, device=ids.device) >= width - lengths[:, None]).long()
            given |= {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
        if self.prefill is not None:
            at = [prompt.question_at for prompt in prompts]
            self.prefill.paused, self.prefill.dense_from = (
                False,
                at if self.protocol == "context" else None,
            )
        try:
            out = self.model(**given, use_cache=True, logits_to_keep=1)
        finally:
            if self.prefill is not None:
                self.prefill.paused = True
        return Reading(out.past_key_values, out.logits[:, -1], mask, lengths, width)

    @torch.no_grad()
    def likelihoods(self, reading: Reading, continuations: list[list[int]]) -> list[Likelihood]:
        """Likelihood of one continuation a prompt (empty ones too); the reading is left as it
        was.
        """
        longest = max(len(ids) for ids in continuations)
        rows = reading.logits.unsqueeze(1)
        if longest > 1:
            ids = torch.tensor(
                [(ids + [self.pad_id] * longest)[: longest - 1] for ids in continuations],
                device=rows.device,
            )
            out = self.model(**reading.step(ids, 0), past_key_values=reading.cache, use_cache=True)
            rows = torch.cat([rows, out.logits], 1)
            reading.cache.crop(1 - longest)
        found = []
        for row, wanted in zip(rows, continuations, strict=True):
            target = torch.tensor(wanted, dtype=torch.long, device=row.device)
            scores = log_softmax(row[: len(wanted)].float(), -1).gather(1, target[:, None])[:, 0]
            found.append(
                Likelihood(scores.tolist(), bool((row[: len(wanted)].argmax(-1) == target).all()))
            )
        return found

    @torch.no_grad()
    def score(self, ids: list[int], last: int) -> float:
        """Log-probability (nats) of the last `last` of `ids`, all of them read as one prompt."""
        if self.prefill is not None:
            self.prefill.paused, self.prefill.dense_from = False, None
        logits = self.model(
            torch.tensor([ids[:-1]], device=self.model.device), logits_to_keep=last
        ).logits[0]
        target = torch.tensor(ids[-last:], device=logits.device)
        return float(log_softmax(logits.float(), -1).gather(1, target[:, None]).sum())

    @torch.no_grad()
    def greedy(self, reading: Reading, rules: list[Ending]) -> list[list[int]]:
        """Greedy answers without their stop ids; the cache is used up."""
        answers: list[list[int]] = [[] for _ in rules]
        going = [rule.limit > 0 for rule in rules]
        logits, done = reading.logits, 0
        while any(going):
            chosen = [self.choose(row, rule, done) for row, rule in zip(logits, rules, strict=True)]
            for row, token in enumerate(chosen):
                going[row] = going[row] and token not in rules[row].stops
                if going[row]:
                    answers[row].append(token)
                    going[row] = done + 1 < rules[row].limit and not rules[row].finished(
                        answers[row]
                    )
            if any(going):
                ids = torch.tensor(chosen, device=logits.device)[:, None]
                out = self.model(
                    **reading.step(ids, done), past_key_values=reading.cache, use_cache=True
                )
                logits, done = out.logits[:, -1], done + 1
        return answers

    @staticmethod
    def choose(logits: Tensor, rule: Ending, done: int) -> int:
        """The most likely allowed id of logits [vocabulary] after `done` ids."""
        if done < rule.least:
            logits = logits.index_fill(
                0, torch.tensor(sorted(rule.stops), device=logits.device), -torch.inf
            )
        return int(logits.argmax())
