"""Text that a model writes itself, drawn from its own distribution: to fit plans on where nobody
has text like the prompts that will come.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import torch

from ffbench.data.encoding import encode, special_head
from ffbench.evaluation.chat_template import chat_frame, has_template
from ffbench.models.errors import ModelError

RAW, CHAT = "raw", "chat"
BATCH = 16  # documents that are drawn at a time


@dataclass(frozen=True)
class SelfText:
    """What makes the text of one model: the model's hash and name, seed, and the longest document
    in tokens.
    """

    model: str
    name: str
    seed: int
    length: int

    def as_dict(self) -> dict[str, Any]:
        """The content of the file that stands beside the text."""
        return asdict(self) | {"batch": BATCH}


def beginnings(tokenizer: Any) -> dict[str, list[int]]:
    """Ids that a document begins with, by kind: the tokenizer's own before any text and, if there
    is a chat template, those before a user's first words.

    Raises ModelError for a tokenizer without a token to begin with, PromptError for a template that
    cannot be rendered.
    """
    others = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    raw = special_head(tokenizer) or [token for token in others if token is not None][:1]
    if not raw:
        raise ModelError("model: its tokenizer has neither a begin nor an end token to start from")
    chat = encode(tokenizer, chat_frame(tokenizer)[0]) if has_template(tokenizer) else []
    return {RAW: raw} | ({CHAT: chat} if chat else {})


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a document. Raises ModelError without any."""
    stops = model.generation_config.eos_token_id
    stops = tokenizer.eos_token_id if stops is None else stops
    if stops is None:
        raise ModelError(
            "model: neither its generation settings nor its tokenizer has an end token"
        )
    return list(stops) if isinstance(stops, (list, tuple)) else [stops]


@torch.no_grad()
def drawn(
    model: Any, start: list[int], length: int, stops: list[int], seed: int
) -> list[list[int]]:
    """BATCH documents of at most `length` ids that begin with `start`, drawn token by token from
    the model's distribution (temperature 1, nothing cut off) up to an end token, which is left out.
    """
    ids = torch.tensor([start] * BATCH, device=model.device)
    cards = [model.device.index or 0] if model.device.type == "cuda" else []
    with torch.random.fork_rng(cards):
        torch.manual_seed(seed)
        rows = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max(length - len(start), 1),
            eos_token_id=stops,
            pad_token_id=stops[0],
        ).tolist()
    ends = [
        next((i for i, token in enumerate(row) if i >= len(start) and token in stops), len(row))
        for row in rows
    ]
    return [row[:end] for row, end in zip(rows, ends, strict=True)]


def documents(
    model: Any, tokenizer: Any, what: SelfText, written: int = 0
) -> Iterator[dict[str, Any]]:
    """Documents without end, after the first `written`: kind, text, number of tokens. Kinds take
    turns by batch.

    Each batch has a seed of its own, so a text that was stopped goes on as if it had not been.
    Raises what `beginnings` and `end_tokens` raise.
    """
    starts, stops = beginnings(tokenizer), end_tokens(model, tokenizer)
    kinds = list(starts)
    for batch in count(written // BATCH):
        kind = kinds[batch % len(kinds)]
        rows = drawn(model, starts[kind], what.length, stops, what.seed + batch)
        for row in rows[written % BATCH if batch == written // BATCH else 0 :]:
            # a chat's special tokens stay: its prompts have them too
            text = tokenizer.decode(row, skip_special_tokens=kind == RAW)
            yield {"kind": kind, "text": text, "tokens": len(row)}
