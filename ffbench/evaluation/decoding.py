"""Answer prompts with a model: one prefill per prompt, then the gold answer's likelihood and a
greedy answer from its cache.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from ffbench.evaluation.prompts import PromptIds, stop_ids
from ffbench.models.forward import with_cache
from ffbench.models.prefill_state import Prefill
from ffbench.tasks.base import STOPS, TaskSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """When an answer ends: at an id of `stops`, at `limit` ids, or when `finished` is true of its
    ids.

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
class PrefillState:
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
        arguments: dict[str, Tensor] = {"input_ids": ids}
        if self.mask is not None:
            more = torch.ones(n, done + m, dtype=self.mask.dtype, device=ids.device)
            arguments["attention_mask"] = torch.cat([self.mask, more], 1)
            arguments["position_ids"] = self.lengths[:, None] + torch.arange(
                done, done + m, device=ids.device
            )
        return arguments


class Decoder:
    """Prefills prompts, sparse if `sparsity` (of an open `sparse_prefill`) is given, and continues
    them dense.

    Protocol "whole": the whole prompt is sparse but for the plan's dense blocks; "context": sparse
    up to the question. Prompts of a batch are padded on the left.
    """

    def __init__(
        self, model: Any, pad_id: int, sparsity: Prefill | None = None, protocol: str = "whole"
    ) -> None:
        self.model, self.pad_id, self.sparsity, self.protocol = model, pad_id, sparsity, protocol
        self.prompts = self.dense_prompts = 0
        self.density = 1.0  # FFN density of the last prefill

    @contextmanager
    def sparse(self, prompts: list[PromptIds]) -> Iterator[None]:
        """Run what is inside as the prefill of some prompts, and note its density."""
        sparsity = self.sparsity
        self.prompts += len(prompts)
        if sparsity is None:
            yield
            return
        used, total = sparsity.used, sparsity.total
        context = self.protocol == "context"
        sparsity.dense_from = [prompt.question_at for prompt in prompts] if context else None
        sparsity.paused = False
        try:
            yield
        finally:
            sparsity.paused = True
        counted = sparsity.total - total
        self.density = (sparsity.used - used) / counted if counted else 1.0
        if self.density == 1:
            self.dense_prompts += len(prompts)

    def warn_about_dense_prompts(self, name: str) -> None:
        """Warn if prompts of `name` were too short for a sparse block between the dense ones."""
        if self.sparsity is not None and self.dense_prompts:
            logger.warning(
                "%s: %d of %d prompts ran dense although a plan was given: they are too short to "
                "hold a sparse block (FFN density used over all prompts: %.3f)",
                name,
                self.dense_prompts,
                self.prompts,
                self.sparsity.density,
            )

    @torch.no_grad()
    def prefill(self, prompts: list[PromptIds]) -> PrefillState:
        """The prompts in a new cache."""
        from transformers import DynamicCache

        width = max(len(prompt.ids) for prompt in prompts)
        rows = [[self.pad_id] * (width - len(prompt.ids)) + prompt.ids for prompt in prompts]
        ids = torch.tensor(rows, device=self.model.device)
        lengths = torch.tensor([len(prompt.ids) for prompt in prompts], device=ids.device)
        cache = DynamicCache()
        arguments: dict[str, Any] = {"input_ids": ids} | with_cache(self.model, cache)
        mask = None
        if int(lengths.min()) < width:
            mask = (torch.arange(width, device=ids.device) >= width - lengths[:, None]).long()
            arguments |= {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
        with self.sparse(prompts):
            out = self.model(**arguments, logits_to_keep=1)
        return PrefillState(cache, out.logits[:, -1], mask, lengths, width)

    @torch.no_grad()
    def likelihoods(self, state: PrefillState, continuations: list[list[int]]) -> list[Likelihood]:
        """Likelihood of one continuation per prompt (empty ones too); the state is left as it
        was.
        """
        longest = max(len(ids) for ids in continuations)
        rows = state.logits.unsqueeze(1)
        if longest > 1:
            ids = torch.tensor(
                [(ids + [self.pad_id] * longest)[: longest - 1] for ids in continuations],
                device=rows.device,
            )
            out = self.model(**state.step(ids, 0), **with_cache(self.model, state.cache))
            rows = torch.cat([rows, out.logits], 1)
            state.cache.crop(1 - longest)
        likelihoods = []
        for row, wanted in zip(rows, continuations, strict=True):
            target = torch.tensor(wanted, dtype=torch.long, device=row.device)
            scores = log_softmax(row[: len(wanted)].float(), -1).gather(1, target[:, None])[:, 0]
            likelihoods.append(
                Likelihood(scores.tolist(), bool((row[: len(wanted)].argmax(-1) == target).all()))
            )
        return likelihoods

    @torch.no_grad()
    def score(self, ids: list[int], last: int) -> float:
        """Log-probability (nats) of the last `last` of `ids`, all of them run as one prompt."""
        if self.sparsity is not None:
            self.sparsity.paused, self.sparsity.dense_from = False, None
        logits = self.model(
            torch.tensor([ids[:-1]], device=self.model.device), logits_to_keep=last
        ).logits[0]
        target = torch.tensor(ids[-last:], device=logits.device)
        return float(log_softmax(logits.float(), -1).gather(1, target[:, None]).sum())

    @torch.no_grad()
    def greedy(self, state: PrefillState, rules: list[Ending]) -> list[list[int]]:
        """Greedy answers without their stop ids; the cache is used up."""
        answers: list[list[int]] = [[] for _ in rules]
        running = [rule.limit > 0 for rule in rules]
        logits, done = state.logits, 0
        while any(running):
            chosen = self.choose(logits, rules, done)
            for row, token in enumerate(chosen):
                running[row] = running[row] and token not in rules[row].stops
                if running[row]:
                    answers[row].append(token)
                    running[row] = done + 1 < rules[row].limit and not rules[row].finished(
                        answers[row]
                    )
            if any(running):
                ids = torch.tensor(chosen, device=logits.device)[:, None]
                out = self.model(**state.step(ids, done), **with_cache(self.model, state.cache))
                logits, done = out.logits[:, -1], done + 1
        return answers

    @staticmethod
    def choose(logits: Tensor, rules: list[Ending], done: int) -> list[int]:
        """The most likely allowed id of each row of logits [n, vocabulary] after `done` ids, in one
        read.
        """
        early = [row for row, rule in enumerate(rules) if done < rule.least]
        if refused := [(row, stop) for row in early for stop in rules[row].stops]:
            rows, ids = torch.tensor(refused, device=logits.device).T
            logits = logits.index_put((rows, ids), logits.new_full((), -torch.inf))
        chosen: list[int] = logits.argmax(-1).tolist()
        return chosen
