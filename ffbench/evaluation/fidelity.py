"""What a sparse prompt changes for the tokens that come after it, compared with a dense prompt."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffbench.methods.objective import COPY_LEAD
from ffbench.methods.plan import DENSE_TOKENS, SparsePlan
from ffbench.models.forward import logits_of, with_cache
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.runs.progress import progress_bar
from ffbench.runs.tensor_files import load_tensors, save_tensors

CONTINUATION, COPY, QUESTION, PROMPT = "continuation", "copy", "question", "prompt"
TAILS = (CONTINUATION, COPY, QUESTION)
CHUNK = 256  # positions whose logits exist at once
FILE = "hidden.safetensors"


@dataclass(frozen=True)
class Tail:
    """Dense tokens after a prompt: ids [n + 1], of which the first n are read.

    judged_from: first prediction that counts. from_prompt: the prompt's last token predicts ids[0],
    which counts too (for answers to questions).
    """

    ids: Tensor
    judged_from: int = 0
    from_prompt: bool = False


@dataclass(frozen=True)
class Case:
    """One prompt with its tails: from which text and document, and whether the predictions of the
    prompt's own tokens are compared too.
    """

    text: str
    document: str
    context: int
    prompt: Tensor
    tails: dict[str, Tail]
    judges_prompt: bool = False


@dataclass(frozen=True)
class Row:
    """One case and tail: KL(dense || sparse) and NLL of the true tokens in nats per token, means
    over the judged predictions.
    """

    text: str
    document: str
    context: int
    tail: str
    tokens: int
    kl: float
    nll_dense: float
    nll_sparse: float
    top1_agreement: float

    @property
    def nll_increase(self) -> float:
        """Sparse less dense NLL."""
        return self.nll_sparse - self.nll_dense


@dataclass
class Measured:
    """Rows of all cases, and counts of the FFN neurons that their prompts used."""

    rows: list[Row] = field(default_factory=list)
    used: int = 0
    total: int = 0

    @property
    def density(self) -> float:
        """Share of the prompts' neurons that was computed."""
        return self.used / self.total if self.total else 1.0


def text_case(
    text: str,
    document: str,
    ids: Tensor,
    context: int,
    tails: Sequence[str],
    judges_prompt: bool = False,
) -> Case:
    """A window ids [context + tail + 1] of a document as a prompt with its continuation, and with a
    passage from the middle of the prompt again.

    The passage does not depend on a plan's dense ends, so that all plans are judged on the same one
    and share the dense side. It keeps clear of the usual ends. Raises ValueError if the window has
    no tail.
    """
    length = len(ids) - context
    if length < 2:
        raise ValueError(f"fidelity: a window of {len(ids)} tokens has no tail after {context}")
    made: dict[str, Tail] = {}
    if CONTINUATION in tails:
        made[CONTINUATION] = Tail(ids[context:])
    if COPY in tails:
        ends = min(DENSE_TOKENS, context // 4)
        copied = min(length, context - 2 * ends)
        start = (context - copied) // 2
        lead = min(COPY_LEAD, copied // 2)
        made[COPY] = Tail(ids[start : start + copied], judged_from=lead)
    return Case(text, document, context, ids[:context], made, judges_prompt)


def hidden_states(model: Any, case: Case, prefill: Prefill | None = None) -> dict[str, Tensor]:
    """Final hidden states [n, d] at the judged positions of each tail after one prefill, and of the
    whole prompt if the case judges it. Tails are read dense, each from the prompt's cache.
    """
    from transformers import DynamicCache

    cache, device = DynamicCache(), model.device
    if prefill is not None:
        prefill.paused = False
    prompt = model.model(
        case.prompt.unsqueeze(0).to(device), **with_cache(model.model, cache)
    ).last_hidden_state[0]
    if prefill is not None:
        prefill.paused = True
    states: dict[str, Tensor] = {PROMPT: prompt} if case.judges_prompt else {}
    for name, tail in case.tails.items():
        parts = [prompt[-1:]] if tail.from_prompt else []
        if len(tail.ids) > 1:
            given = tail.ids[:-1].unsqueeze(0).to(device)
            output = model.model(given, **with_cache(model.model, cache))
            parts.append(output.last_hidden_state[0])
            cache.crop(1 - len(tail.ids))
        states[name] = torch.cat(parts)[tail.judged_from :]
    return states


def targets(case: Case, name: str) -> Tensor:
    """The true next tokens [n] at a tail's judged positions, or at the prompt's."""
    if name == PROMPT:
        return case.prompt[1:]
    tail = case.tails[name]
    ids = tail.ids if tail.from_prompt else tail.ids[1:]
    return ids[tail.judged_from :]


def compare(model: Any, dense: Tensor, sparse: Tensor, wanted: Tensor) -> dict[str, float]:
    """Means over the positions of hidden states [n, d] of both sides: kl, top1_agreement, and
    nll_dense, nll_sparse of the true next tokens `wanted` [n].
    """
    sums = dict.fromkeys(("kl", "top1_agreement", "nll_dense", "nll_sparse"), 0.0)
    wanted, count = wanted.to(sparse.device), len(wanted)
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        p, q = (
            logits_of(model, side[rows].to(sparse.device)).float().log_softmax(-1)
            for side in (dense, sparse)
        )
        target = wanted[rows, None]
        sums["kl"] += (p.exp() * (p - q)).sum().item()
        sums["top1_agreement"] += (p.argmax(-1) == q.argmax(-1)).sum().item()
        sums["nll_dense"] -= p.gather(1, target).sum().item()
        sums["nll_sparse"] -= q.gather(1, target).sum().item()
    return {name: value / count for name, value in sums.items()}


@torch.no_grad()
def save_dense(model: Any, cases: Sequence[Case], folder: Path) -> None:
    """Write the dense hidden states of every case, for each run of a sweep to compare with."""
    states: dict[str, Tensor] = {}
    for i, case in enumerate(progress_bar(cases, desc="fidelity: dense")):
        for name, hidden in hidden_states(model, case).items():
            states[f"{i}.{name}"] = hidden.cpu().contiguous()
    save_tensors(states, folder / FILE)


@torch.no_grad()
def measure(
    model: Any,
    plan: SparsePlan,
    cases: Sequence[Case],
    folder: Path,
    backend: str = "auto",
    report: Callable[[list[Row]], None] = lambda rows: None,
) -> Measured:
    """Rows of every case with a sparse prompt, against what `save_dense` wrote into `folder`.

    `report` gets the rows so far after each case.
    """
    dense, measured = load_tensors(folder / FILE), Measured()
    with sparse_prefill(model, plan, backend) as prefill:
        for i, case in enumerate(progress_bar(cases, desc="fidelity: sparse")):
            states = hidden_states(model, case, prefill)
            for name, hidden in states.items():
                wanted = targets(case, name)
                sides = (dense[f"{i}.{name}"][: len(wanted)], hidden[: len(wanted)])
                values = compare(model, *sides, wanted)
                measured.rows.append(
                    Row(case.text, case.document, case.context, name, len(wanted), **values)
                )
            report(measured.rows)
        measured.used, measured.total = prefill.used, prefill.total
    return measured


Interval = Callable[[list[np.ndarray]], tuple[float | None, float | None]]


def document_means(rows: Sequence[Row], value: Callable[[Row], float]) -> list[float]:
    """A value of each document, mean over its contexts, which share its text."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.document, []).append(value(row))
    return [sum(several) / len(several) for several in values.values()]


def tail_summary(rows: Sequence[Row], interval: Interval) -> dict[str, Any]:
    """One tail: means over texts of the mean over each text's documents, intervals over documents
    drawn within texts, and the worst window.
    """
    texts = [
        [row for row in rows if row.text == text] for text in dict.fromkeys(r.text for r in rows)
    ]

    def by_text(value: Callable[[Row], float]) -> list[list[float]]:
        return [document_means(group, value) for group in texts]

    def mean(value: Callable[[Row], float]) -> float:
        return sum(sum(group) / len(group) for group in by_text(value)) / len(texts)

    kl_low, kl_high = interval([np.array(group) for group in by_text(lambda row: row.kl)])
    nll_low, nll_high = interval(
        [np.array(group) for group in by_text(lambda row: row.nll_increase)]
    )
    return {
        "n": len(rows),
        "kl": mean(lambda row: row.kl),
        "kl_low": kl_low,
        "kl_high": kl_high,
        "kl_worst": max(row.kl for row in rows),
        "nll_dense": mean(lambda row: row.nll_dense),
        "nll_increase": mean(lambda row: row.nll_increase),
        "nll_increase_low": nll_low,
        "nll_increase_high": nll_high,
        "nll_increase_worst": max(row.nll_increase for row in rows),
        "top1_agreement": mean(lambda row: row.top1_agreement),
    }


def by_tail(rows: Sequence[Row], interval: Interval) -> dict[str, dict[str, Any]]:
    """`tail_summary` of each tail that has rows, in the order of TAILS."""
    return {
        name: tail_summary(chosen, interval)
        for name in TAILS
        if (chosen := [row for row in rows if row.tail == name])
    }


def summary(measured: Measured, flops_used: float, interval: Interval) -> dict[str, Any]:
    """The fidelity fields of a result: by tail, by text, by context, and the prompt's own
    tokens.
    """
    rows = measured.rows
    answers = [row for row in rows if row.tail != PROMPT]
    prompt = [row for row in rows if row.tail == PROMPT]
    contexts = sorted({row.context for row in answers})
    texts = dict.fromkeys(row.text for row in answers)
    own: dict[str, Any] | None = None
    if prompt:
        whole = tail_summary(prompt, interval)
        nll = float(whole["nll_dense"])
        own = {name: whole[name] for name in ("n", "kl", "kl_low", "kl_high", "top1_agreement")}
        own |= {"ppl_ratio": math.exp(whole["nll_increase"]), "ppl_dense": math.exp(nll)}
    return {
        "contexts": contexts,
        "tails": by_tail(answers, interval),
        "by_text": {t: by_tail([r for r in answers if r.text == t], interval) for t in texts},
        "by_context": {
            str(c): by_tail([r for r in answers if r.context == c], interval) for c in contexts
        },
        "prompt": own,
        "density_used": measured.density,
        "flops_used": flops_used,
        "rows": [asdict(row) for row in rows],
    }
