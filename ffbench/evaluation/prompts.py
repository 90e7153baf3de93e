"""From a task record to the token ids that a model reads."""

import hashlib
from dataclasses import dataclass
from typing import Any

from ffbench.tasks.base import TaskRecord, TaskSpec

MARK = "FFBENCH-USER-TEXT"
TEMPLATE_DATE = "26 Jul 2024"  # Llama 3's templates print a date, 3.2's the day of the run; prompts must not change


class PromptError(ValueError):
    """A prompt cannot be made; the text names the setting."""


@dataclass(frozen=True)
class PromptIds:
    """A prompt as token ids; `question_at` is the first id of the question, `cut` how many ids the
    middle lost.
    """

    ids: list[int]
    question_at: int
    cut: int


def rendered(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """Text of the chat template with thinking off and a fixed date."""
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, enable_thinking=False, date_string=TEMPLATE_DATE, **options
    )
    return text


def chat_frame(tokenizer: Any) -> tuple[str, str]:
    """Text that the chat template puts before and after what a user says; special tokens are part
    of it.
    """
    before, after = rendered(
        tokenizer, [{"role": "user", "content": MARK}], add_generation_prompt=True
    ).split(MARK)
    return before, after


def has_template(tokenizer: Any) -> bool:
    """Whether the tokenizer carries a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def template_hash(tokenizer: Any) -> str | None:
    """First 16 hex digits of the SHA-256 of the chat template; None without one."""
    return (
        hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16]
        if has_template(tokenizer)
        else None
    )


def special_head(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer puts before a text by itself: the begin token where it has that rule,
    else nothing.
    """
    plain = tokenizer.encode("x", add_special_tokens=False)
    whole = tokenizer.encode("x", add_special_tokens=True)
    at = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return list(whole[:at])


def frame_ids(tokenizer: Any, chat: bool) -> tuple[list[int], list[int]]:
    """Ids around a prompt: the chat template's, or the tokenizer's own begin token before a raw
    prompt; never both.
    """
    if chat and has_template(tokenizer):
        before, after = (
            tokenizer.encode(part, add_special_tokens=False) for part in chat_frame(tokenizer)
        )
        return before, after
    return special_head(tokenizer), []


def shared_start(first: list[int], second: list[int]) -> int:
    """Number of ids that both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def prompt_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord, max_length: int) -> PromptIds:
    """Ids of a prompt with `spec.max_new_tokens` left of `max_length` for the answer.

    Context and question are tokenised as one text and cut in the middle on their ids (the first and
    the last half stay), then the frame goes around them. Raises PromptError where the frame leaves
    no room.
    """
    before, after = frame_ids(tokenizer, spec.chat)
    room = max_length - spec.max_new_tokens - len(before) - len(after)
    if room < 2:
        raise PromptError(
            f"task.max_length={max_length}: {spec.name} answers with up to {spec.max_new_tokens} tokens, "
            f"which leaves {room} for the prompt; choose {max_length - room + 2} or more"
        )
    ids = tokenizer.encode(record.context + record.question, add_special_tokens=False)
    question = shared_start(ids, tokenizer.encode(record.context, add_special_tokens=False))
    return cut_middle(before, ids, after, room, question)


def cut_middle(
    before: list[int], ids: list[int], after: list[int], room: int, question: int
) -> PromptIds:
    """The frame around at most `room` of `ids`: the first and the last half stay; `question` is
    where it begins in them.
    """
    cut = max(0, len(ids) - room)
    if cut:
        half = room // 2
        ids = ids[:half] + ids[half + cut :]
        question = min(question, max(half, question - cut))
    return PromptIds(before + ids + after, len(before) + question, cut)


def gold_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> list[int]:
    """Ids of the first gold answer that is not empty, at most `spec.max_new_tokens`.

    A raw prompt that ends in an ASCII letter or mark is continued with a space, as its few-shot
    examples are.
    """
    gold = next(answer for answer in record.answers if answer.strip())
    last = (record.context + record.question)[-1:]
    raw = not (spec.chat and has_template(tokenizer))
    space = " " if raw and last.isascii() and last.strip() and not gold[0].isspace() else ""
    ids: list[int] = tokenizer.encode(space + gold, add_special_tokens=False)[: spec.max_new_tokens]
    return ids


def turn_end(tokenizer: Any) -> set[int]:
    """The first special token that the chat template puts after what the assistant says."""
    if not has_template(tokenizer):
        return set()
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": MARK}]
    after = rendered(tokenizer, messages).split(MARK)[-1]
    special = set(tokenizer.all_special_ids)
    return set([i for i in tokenizer.encode(after, add_special_tokens=False) if i in special][:1])


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every end token: of the generation settings, the model, the tokenizer and the chat template's
    turns.
    """
    found = turn_end(tokenizer)
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return found
