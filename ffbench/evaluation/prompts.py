"""From a task record to the token ids that a model reads."""

from dataclasses import dataclass
from typing import Any

from ffbench.data.encoding import encode, encode_with_boundaries, special_head
from ffbench.evaluation.chat_template import (
    PromptError,
    answer_gap,
    chat_frame,
    has_template,
    turn_end,
    user_turn,
)
from ffbench.tasks.base import TaskRecord, TaskSpec


@dataclass(frozen=True)
class PromptIds:
    """A prompt as token ids; `question_at` is the first id of the question, `cut` how many ids the
    middle lost.
    """

    ids: list[int]
    question_at: int
    cut: int


@dataclass(frozen=True, kw_only=True)
class FramedText:
    """A prompt as text: `head` ids (a begin token), then `text`, in which the prompt proper is
    text[start:end] and its question begins at `question`; the rest is the chat template's frame.
    """

    head: list[int]
    text: str
    start: int
    question: int
    end: int


def uses_template(tokenizer: Any, spec: TaskSpec) -> bool:
    """Whether the prompts of a task get the chat template."""
    return spec.chat and has_template(tokenizer)


def prompt_text(record: TaskRecord) -> str:
    """A record's prompt without a frame, the answer's prefix at its end."""
    space = " " if record.answer_prefix else ""
    return record.context + record.question + space + record.answer_prefix


def framed_text(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> FramedText:
    """A record's prompt as text, with the chat template around it if its task uses one, and the
    record's `answer_prefix` at the end: the answer begins with it.

    The tokenizer's own begin token goes before a prompt without a template only. Raises PromptError
    for a template that changes the text by more than stripping it.
    """
    text = record.context + record.question
    if not uses_template(tokenizer, spec):
        return FramedText(
            head=special_head(tokenizer),
            text=prompt_text(record),
            start=0,
            question=len(record.context),
            end=len(text),
        )
    before, after = chat_frame(tokenizer)
    whole = user_turn(tokenizer, text)
    start, end = len(before), len(whole) - len(after)
    inner = whole[start:end]
    if not whole.startswith(before) or not whole.endswith(after) or inner.strip() != text.strip():
        raise PromptError(
            f"{spec.name}, record {record.record_id!r}: the model's chat template changes the text "
            "of the prompt; use another tokenizer"
        )
    stripped = len(inner.lstrip()) - len(inner) + len(text) - len(text.lstrip())
    question = min(max(start + len(record.context) - stripped, start), end)
    if record.answer_prefix:
        whole += answer_gap(tokenizer) + record.answer_prefix
    return FramedText(head=[], text=whole, start=start, question=question, end=end)


def cut_to_fit(
    tokenizer: Any, framed: FramedText, room: int, *, setting: str, answer: str
) -> PromptIds:
    """Ids of a prompt, at most `room` with its frame: encoded as a whole, then the middle of the
    prompt proper is left out (its first and last half stay).

    Raises PromptError, naming `setting` ("task.max_length=100") and the `answer` that needs the
    rest, if the frame leaves no room.
    """
    ids, (start, question, end) = encode_with_boundaries(
        tokenizer, framed.text, (framed.start, framed.question, framed.end)
    )
    before, after = framed.head + ids[:start], ids[end:]
    inner = room - len(before) - len(after)
    if inner < 2:
        name, _, value = setting.partition("=")
        raise PromptError(
            f"{setting}: {answer} leaves {max(inner, 0)} tokens for the prompt; set {name} to "
            f"{int(value) - inner + 2} or more"
        )
    return cut_middle(before, ids[start:end], after, inner, question - start)


def prompt_size(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> int:
    """Tokens of a record's prompt with its frame, before any cut."""
    framed = framed_text(tokenizer, spec, record)
    return len(framed.head) + len(encode(tokenizer, framed.text))


def prompt_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord, max_length: int) -> PromptIds:
    """Ids of a prompt with `spec.max_new_tokens` left of `max_length` for the answer.

    Without a cut they are those of `apply_chat_template(tokenize=True)`, or of the tokenizer itself
    for a task without a template. Raises PromptError if the frame leaves no room.
    """
    return cut_to_fit(
        tokenizer,
        framed_text(tokenizer, spec, record),
        max_length - spec.max_new_tokens,
        setting=f"task.max_length={max_length}",
        answer=f"{spec.name} answers with up to {spec.max_new_tokens} tokens, which",
    )


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


def continuation_ids(tokenizer: Any, before: str, text: str) -> list[int]:
    """Ids of `text` as they follow the ids of `before`.

    Both are encoded as a whole. If an id would cross from one into the other (a newline and the
    indentation after it), `text` is encoded by itself, without a dummy prefix.
    """
    ids, (at,) = encode_with_boundaries(tokenizer, before + text, [len(before)])
    if ids[:at] == encode(tokenizer, before):
        return ids[at:]
    anchored, (at,) = encode_with_boundaries(tokenizer, "\n" + text, [1])
    if anchored[:at] == encode(tokenizer, "\n"):
        return anchored[at:]
    return encode(tokenizer, text)


def gold_text(record: TaskRecord) -> str:
    """The answer whose likelihood is measured: the record's `gold`, else its first answer that is
    not empty.
    """
    return record.gold or next(answer for answer in record.answers if answer.strip())


def gold_ids(tokenizer: Any, spec: TaskSpec, record: TaskRecord) -> list[int]:
    """Ids of `gold_text` as they follow the prompt, at most `spec.max_new_tokens`.

    A raw prompt or an answer's prefix that ends in an ASCII letter or mark is continued with a
    space, as few-shot examples are; after a chat template the answer begins as the template writes
    answers.
    """
    gold = gold_text(record)
    if uses_template(tokenizer, spec) and not record.answer_prefix:
        space = answer_gap(tokenizer)
    else:
        last = prompt_text(record)[-1:]
        space = " " if last.isascii() and last.strip() else ""
    if gold[0].isspace():
        space = ""
    framed = framed_text(tokenizer, spec, record)
    return continuation_ids(tokenizer, framed.text, space + gold)[: spec.max_new_tokens]


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every end token: of the generation settings, the model, the tokenizer and the chat template's
    turns.
    """
    ids = turn_end(tokenizer)
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    return ids
